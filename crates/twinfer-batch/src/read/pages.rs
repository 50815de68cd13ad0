//! The pages of Parquet, and Zstandard in them. The crate `parquet` has that through C only; so its
//! reader is given such pages as if they were not compressed, and they are unpacked behind it.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups, RowSelection, RowSelector,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Bytes that are unpacked before it is seen whether a page has too many.
const STEP: usize = 1 << 20;

/// The rows of a file without the first `done`, in batches.
///
/// # Errors
/// Those of the crate, such as for compressions that it does not read.
pub(super) fn reader(
    file: File,
    metadata: &ArrowReaderMetadata,
    columns: ProjectionMask,
    mut done: usize,
    batch: usize,
) -> Result<ParquetRecordBatchReader> {
    let mut first = 0;
    for rows in metadata.metadata().row_groups().iter().map(rows) {
        if rows > done {
            break;
        }
        done -= rows;
        first += 1;
    }
    let groups = Groups {
        file: Arc::new(file),
        metadata: metadata.metadata().clone(),
        first,
    };
    let left = groups.num_rows().saturating_sub(done);
    let selection = (done > 0)
        .then(|| RowSelection::from(vec![RowSelector::skip(done), RowSelector::select(left)]));
    let hint = Some(metadata.schema().fields());
    let levels = parquet_to_arrow_field_levels(metadata.parquet_schema(), columns, hint)?;
    let batch = batch.min(groups.num_rows());
    ParquetRecordBatchReader::try_new_with_row_groups(&levels, &groups, batch, selection)
}

fn rows(group: &RowGroupMetaData) -> usize {
    group.num_rows().try_into().unwrap_or(0)
}

/// The row groups of a file from `first` on.
struct Groups {
    file: Arc<File>,
    metadata: Arc<ParquetMetaData>,
    first: usize,
}

impl RowGroups for Groups {
    fn num_rows(&self) -> usize {
        self.row_groups().map(rows).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        Ok(Box::new(ColumnChunks {
            file: self.file.clone(),
            metadata: self.metadata.clone(),
            column,
            groups: self.first..self.metadata.num_row_groups(),
        }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter().skip(self.first))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// A column of row groups.
struct ColumnChunks {
    file: Arc<File>,
    metadata: Arc<ParquetMetaData>,
    column: usize,
    groups: Range<usize>,
}

impl ColumnChunks {
    fn pages(&self, group: usize) -> Result<Box<dyn PageReader>> {
        let group = self.metadata.row_group(group);
        let chunk = group.column(self.column);
        let read = |chunk: &ColumnChunkMetaData| {
            SerializedPageReader::new(self.file.clone(), chunk, rows(group), None)
        };
        if !matches!(chunk.compression(), Compression::ZSTD(_)) {
            return Ok(Box::new(read(chunk)?));
        }
        let as_it_is = chunk.clone().into_builder();
        let as_it_is = as_it_is
            .set_compression(Compression::UNCOMPRESSED)
            .build()?;
        Ok(Box::new(Zstandard {
            pages: read(&as_it_is)?,
            most: chunk.uncompressed_size().try_into().unwrap_or(0),
            decoder: FrameDecoder::new(),
        }))
    }
}

impl Iterator for ColumnChunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.groups.next()?;
        Some(self.pages(group))
    }
}

impl PageIterator for ColumnChunks {}

/// Unpacks pages that are read as they are stored.
struct Zstandard {
    pages: SerializedPageReader<File>,
    /// Bytes that all pages of the chunk have when they are unpacked.
    most: usize,
    decoder: FrameDecoder,
}

impl Zstandard {
    fn unpacked(&mut self, page: Option<Page>) -> Result<Option<Page>> {
        let Some(mut page) = page else {
            return Ok(None);
        };
        // Of the second version levels stand before the values, and are never compressed.
        let (bytes, levels) = match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => (buf, 0),
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                ..
            } => match *is_compressed {
                true => (
                    buf,
                    def_levels_byte_len.saturating_add(*rep_levels_byte_len),
                ),
                false => return Ok(Some(page)),
            },
        };
        *bytes = unpack(&mut self.decoder, bytes, levels as usize, self.most)?;
        Ok(Some(page))
    }
}

impl Iterator for Zstandard {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Zstandard {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        self.unpacked(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        self.unpacked(page)
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

/// The bytes of a page of at most `most`, of which the first `plain` are not compressed.
fn unpack(decoder: &mut FrameDecoder, stored: &[u8], plain: usize, most: usize) -> Result<Bytes> {
    let malformed = |what: &dyn std::fmt::Display| {
        ParquetError::General(format!("a page that is compressed with Zstandard: {what}"))
    };
    let Some((plain, mut packed)) = stored.split_at_checked(plain) else {
        return Err(malformed(&"it is shorter than its levels"));
    };
    let mut page = plain.to_vec();
    while !packed.is_empty() {
        decoder.init(&mut packed).map_err(|e| malformed(&e))?;
        while !decoder.is_finished() {
            (decoder.decode_blocks(&mut packed, BlockDecodingStrategy::UptoBytes(STEP)))
                .map_err(|e| malformed(&e))?;
            (decoder.collect_to_writer(&mut page)).map_err(|e| malformed(&e))?;
            if page.len() > most {
                return Err(malformed(&format_args!(
                    "it has more bytes than the {most} of its column"
                )));
            }
        }
        if let Some(said) = decoder.get_checksum_from_data()
            && decoder.get_calculated_checksum() != Some(said)
        {
            return Err(malformed(&"its checksum is another one"));
        }
    }
    Ok(page.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    #[test]
    fn pages_of_any_frames_and_no_more_than_they_may_have() {
        let values: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7 % 251) as u8).collect();
        let packed = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let mut decoder = FrameDecoder::new();
        let mut stored = b"levels".to_vec();
        stored.extend(packed(&values[..1000]));
        stored.extend(packed(&values[1000..]));
        let page = unpack(&mut decoder, &stored, 6, values.len() + 6).unwrap();
        assert!(page[..6] == *b"levels" && page[6..] == values);
        assert_eq!(unpack(&mut decoder, b"ab", 2, 2).unwrap(), "ab");
        let mut refused = |stored: &[u8], plain: usize, most: usize, why: &str| {
            let error = unpack(&mut decoder, stored, plain, most)
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(&stored, 6, values.len() + 5, "more bytes than");
        refused(
            &stored[..stored.len() - 1],
            6,
            values.len() + 6,
            "Zstandard",
        );
        refused(b"ab", 3, 9, "shorter than its levels");
        refused(b"no frame at all", 0, 99, "Zstandard");
    }
}
