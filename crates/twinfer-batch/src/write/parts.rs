//! Apache Parquet in parts. A file of Parquet cannot be gone on with after its writer has died: what
//! is in it stands at its end. So each row group is a file of its own until all are there; then
//! their bytes are copied behind each other, as `parquet-concat` does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use twinfer::{Error, Result, err};

use crate::files::{remove, storage, sync_folder_of};

/// A row group is closed when it takes so much memory, even if it has few rows.
const ROW_GROUP_BYTES: usize = 64 << 20;

pub(crate) struct Parts {
    folder: PathBuf,
    schema: SchemaRef,
    row_group: usize,
    /// Parts that are whole.
    count: u64,
    open: Option<(PathBuf, ArrowWriter<File>)>,
}

impl Parts {
    pub(super) fn open(
        folder: &Path,
        schema: SchemaRef,
        row_group: usize,
        count: u64,
    ) -> Result<Self> {
        // What no checkpoint counts is written again.
        let entries = fs::read_dir(folder).map_err(|e| storage("read", folder, &e))?;
        for entry in entries {
            let path = entry.map_err(|e| storage("read", folder, &e))?.path();
            if number(&path).is_some_and(|number| number >= count) {
                remove(&path)?;
            }
        }
        Ok(Self {
            folder: folder.into(),
            schema,
            row_group,
            count,
            open: None,
        })
    }

    /// Adds rows. Says whether no part is open now.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<bool> {
        if batch.num_rows() == 0 {
            return Ok(self.open.is_none());
        }
        let (path, writer) = match &mut self.open {
            Some(open) => open,
            closed => {
                let path = part(&self.folder, self.count);
                let file = File::create(&path).map_err(|e| storage("write", &path, &e))?;
                let writer = ArrowWriter::try_new(file, self.schema.clone(), Some(properties()))
                    .map_err(|e| failed(&path, e))?;
                closed.insert((path, writer))
            }
        };
        writer.write(batch).map_err(|e| failed(path, e))?;
        let full = writer.in_progress_rows() >= self.row_group
            || writer.in_progress_size() >= ROW_GROUP_BYTES;
        if full {
            self.end()?;
        }
        Ok(full)
    }

    /// Ends the part that is open, and makes it durable.
    pub(super) fn end(&mut self) -> Result<()> {
        if let Some((path, mut writer)) = self.open.take() {
            writer.finish().map_err(|e| failed(&path, e))?;
            (writer.inner().sync_all()).map_err(|e| storage("write", &path, &e))?;
            self.count += 1;
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<u64> {
        sync_folder_of(&self.folder.join("part"))?;
        Ok(self.count)
    }

    /// Joins the parts.
    pub(super) fn join(self, path: &Path) -> Result<()> {
        let file = File::create(path).map_err(|e| storage("write", path, &e))?;
        if self.count == 0 {
            let empty = ArrowWriter::try_new(&file, self.schema.clone(), Some(properties()));
            let closed = empty.and_then(ArrowWriter::close);
            closed.map_err(|e| failed(path, e))?;
        } else {
            let mut joined: Option<SerializedFileWriter<&File>> = None;
            for number in 0..self.count {
                let part = part(&self.folder, number);
                append(&file, &mut joined, &part).map_err(|e| failed(&part, e))?;
            }
            if let Some(mut writer) = joined {
                writer.finish().map_err(|e| failed(path, e))?;
            }
        }
        file.sync_all().map_err(|e| storage("write", path, &e))
    }
}

/// Copies the row groups of a part behind what is there.
fn append<'a>(
    file: &'a File,
    joined: &mut Option<SerializedFileWriter<&'a File>>,
    part: &Path,
) -> std::result::Result<(), ParquetError> {
    let part = File::open(part)?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&part)?;
    let writer = match joined {
        Some(writer) => writer,
        none => none.insert(beginning(file, &metadata)?),
    };
    for group in metadata.row_groups() {
        let mut copied = writer.next_row_group()?;
        for column in group.columns() {
            let closed = ColumnCloseResult {
                bytes_written: column.compressed_size().try_into().unwrap_or(0),
                rows_written: group.num_rows().try_into().unwrap_or(0),
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            copied.append_column(&part, closed)?;
        }
        copied.close()?;
    }
    Ok(())
}

/// A file of the schema of a part, with what it says of its types in Arrow.
fn beginning<'a>(
    file: &'a File,
    metadata: &ParquetMetaData,
) -> std::result::Result<SerializedFileWriter<&'a File>, ParquetError> {
    let of_file = metadata.file_metadata();
    let properties = WriterProperties::builder()
        .set_created_by(created_by())
        .set_key_value_metadata(of_file.key_value_metadata().cloned())
        .build();
    let schema = of_file.schema_descr().root_schema_ptr();
    SerializedFileWriter::new(file, schema, Arc::new(properties))
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(created_by())
        .set_compression(Compression::SNAPPY)
        // A part is one row group. Indices of pages would not be copied.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build()
}

fn created_by() -> String {
    format!("twinfer version {}", env!("CARGO_PKG_VERSION"))
}

fn failed(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => storage("write", path, &error),
            Err(error) => err!(Storage, "cannot write {}: {error}", path.display()),
        },
        error => err!(Storage, "cannot write {}: {error}", path.display()),
    }
}

fn part(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("part-{number:06}.parquet"))
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    number.parse().ok()
}
