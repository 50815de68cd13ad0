//! Opening content, wherever it is.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use reqwest::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE,
};
use reqwest::{Response, StatusCode, Url};
use twinfer::{Error, Result, bail, err};
use twinfer_cache::{Body, Opened, Wanted};
use twinfer_package::FolderStore;

use super::decode::{Coding, Decoder};
use crate::download::check_no_page;
use crate::error::causes;
use crate::net::{Access, Call, Net, failed, header};

/// Bytes that are read of a file at once.
const PIECE: usize = 1 << 20;

/// Content of a registry as it arrives.
pub struct OriginBody(Kind);

/// An answer whose body arrives.
struct Arriving {
    response: Response,
    decoder: Option<Decoder>,
    what: String,
}

enum Kind {
    Memory(Option<Vec<u8>>),
    File(File, String),
    Network(Box<Arriving>),
    Ended,
}

impl OriginBody {
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(Kind::Memory(Some(bytes)))
    }
}

impl Body for OriginBody {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.0 {
            Kind::Memory(bytes) => Ok(bytes.take()),
            Kind::File(file, what) => {
                let mut piece = Vec::new();
                let read = file.take(PIECE as u64).read_to_end(&mut piece);
                read.map_err(|e| err!(Storage, "cannot read {what}: {e}"))?;
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
            Kind::Network(arriving) => {
                let Arriving {
                    response,
                    decoder,
                    what,
                } = &mut **arriving;
                let chunk = response.chunk().await;
                let chunk = chunk.map_err(|e| err!(Network, "{what}: {}", causes(&e)))?;
                let piece = match (chunk, decoder) {
                    (Some(chunk), None) => return Ok(Some(chunk.into())),
                    (Some(chunk), Some(decoder)) => decoder.next(&chunk)?,
                    (None, None) => return Ok(None),
                    (None, Some(decoder)) => {
                        let rest = decoder.finish()?;
                        self.0 = Kind::Ended;
                        rest
                    }
                };
                Ok(Some(piece))
            }
            Kind::Ended => Ok(None),
        }
    }
}

fn missing(wanted: &Wanted, place: &dyn std::fmt::Display) -> Error {
    match wanted.size {
        None => err!(
            UnknownVersion,
            "there is no package {} in the registry: {place} does not exist",
            wanted.digest
        ),
        Some(_) => err!(
            MissingBlob,
            "{} is not in the registry: {place} does not exist",
            wanted.label()
        ),
    }
}

/// Opens a blob of a folder.
pub(super) fn in_folder(
    folder: &FolderStore,
    wanted: &Wanted,
    offset: u64,
) -> Result<Opened<OriginBody>> {
    let path = folder.root().join("blobs/sha256").join(wanted.digest.hex());
    let failed = |e| match e {
        e if std::io::Error::kind(&e) == ErrorKind::NotFound => missing(wanted, &path.display()),
        e => err!(Storage, "cannot read {}: {e}", path.display()),
    };
    // A pipe would block for ever.
    if !std::fs::metadata(&path).map_err(failed)?.is_file() {
        bail!(Storage, "{} is not a file", path.display());
    }
    let mut file = File::open(&path).map_err(failed)?;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    Ok(Opened {
        body: OriginBody(Kind::File(file, path.display().to_string())),
        offset,
    })
}

/// Where content is on the network.
pub(super) struct Place<'a> {
    pub net: &'a Net,
    pub url: Url,
    pub access: Access<'a>,
    pub accept: Option<&'static str>,
}

impl Place<'_> {
    /// Opens it.
    pub async fn open(
        &self,
        wanted: &Wanted,
        offset: u64,
        anew: bool,
    ) -> Result<Opened<OriginBody>> {
        let what = wanted.label();
        let mut from = offset;
        loop {
            let mut call = Call::get(self.url.clone(), &what);
            self.ask_for(&mut call.headers, from, anew);
            let response = self.net.send(&call, self.access).await?;
            match response.status() {
                StatusCode::OK => {
                    check_no_page(&response, &what)?;
                    return opened(response, 0, &what);
                }
                StatusCode::PARTIAL_CONTENT if from > 0 => {
                    // The bytes of which a compressed part is, nobody knows.
                    if Coding::of(response.headers(), &what)?.is_none() {
                        let begins = begin_of_range(response.headers(), from, &what)?;
                        return opened(response, begins, &what);
                    }
                    from = 0;
                }
                // What is here is longer than what is there: the one who checks decides.
                StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => from = 0,
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(missing(wanted, &self.url));
                }
                status => return Err(failed(&call, &format!("status {status}"), 1)),
            }
        }
    }

    fn ask_for(&self, headers: &mut HeaderMap, from: u64, anew: bool) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(accept) = self.accept {
            headers.insert("accept", HeaderValue::from_static(accept));
        }
        if anew {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if from > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={from}-"))
        {
            headers.insert(RANGE, range);
        }
    }
}

fn opened(response: Response, offset: u64, what: &str) -> Result<Opened<OriginBody>> {
    let coding = Coding::of(response.headers(), what)?;
    Ok(Opened {
        body: OriginBody(Kind::Network(Box::new(Arriving {
            response,
            decoder: coding.map(|coding| Decoder::new(coding, what)),
            what: what.into(),
        }))),
        offset,
    })
}

/// Where a part begins. A server that gives more than was asked for is honest; one that leaves
/// a gap is of no use.
fn begin_of_range(headers: &HeaderMap, from: u64, what: &str) -> Result<u64> {
    let range = header(headers, CONTENT_RANGE.as_str());
    let begin = range
        .and_then(|range| range.strip_prefix("bytes ")?.split_once('-'))
        .and_then(|(begin, _)| begin.trim().parse().ok());
    match begin {
        Some(begin) if begin <= from => Ok(begin),
        _ => bail!(
            Network,
            "{what}: the server was asked for the bytes from {from} on, and gave `{}`",
            range.unwrap_or("no Content-Range")
        ),
    }
}
