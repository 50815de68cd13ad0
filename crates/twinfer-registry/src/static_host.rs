//! An image layout on a static host.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};
use twinfer_cache::{Asked, Freshness};
use twinfer_package::limits::MAX_INDEX_BYTES;
use twinfer_package::{Descriptor, Store};

use crate::NetOptions;
use crate::cached::decoded;
use crate::download::{Download, Source, no_page};
use crate::net::{Answer, Call, Net, said};

/// How old a file must be to be told from its next version by its time.
const JUST_CHANGED: Duration = Duration::from_secs(2);

/// A registry on any web host: the files of an OCI image layout under an address. It can only
/// be read.
pub struct HttpStore {
    net: Arc<Net>,
    base: Url,
}

impl HttpStore {
    /// The registry at this address, which is that of a folder: with or without a slash at
    /// its end.
    ///
    /// # Errors
    /// `invalid_parameter` for plain HTTP to another machine that was not allowed.
    pub fn new(mut base: Url, options: &NetOptions) -> Result<Self> {
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let net = Net::new(options)?;
        net.check_address(&base)?;
        Ok(Self { net, base })
    }

    fn download(&self, descriptor: &Descriptor) -> Result<Download> {
        let source = Source {
            net: self.net.clone(),
            auth: None,
            url: address(
                &self.base,
                &format!("blobs/sha256/{}", descriptor.digest.hex()),
            )?,
            accept: None,
        };
        Download::begin(source, descriptor)
    }
}

/// What the index of a host is asked for with, the next time.
#[derive(Debug, Serialize, Deserialize)]
struct Validator {
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl Validator {
    /// Of an answer; `None` where there is nothing to ask with, or where the file changed so
    /// short before that it could change again without being seen: times are in seconds, and
    /// many hosts make ETags of times (RFC 9110, section 8.8.2.2).
    fn of(answer: &Answer) -> Option<Self> {
        let date = |name| httpdate::parse_http_date(answer.header(name)?).ok();
        if let (Some(date), Some(modified)) = (date("date"), date("last-modified"))
            && date < modified + JUST_CHANGED
        {
            return None;
        }
        let text = |name| answer.header(name).map(str::to_owned);
        let (etag, modified) = (text("etag"), text("last-modified"));
        (etag.is_some() || modified.is_some()).then_some(Self { etag, modified })
    }

    fn ask_with(&self, headers: &mut HeaderMap) {
        let pairs = [
            (IF_NONE_MATCH, &self.etag),
            (IF_MODIFIED_SINCE, &self.modified),
        ];
        for (name, value) in pairs {
            if let Some(value) = value.as_deref().and_then(|v| HeaderValue::from_str(v).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

/// Asks for the index, and, with a validator, whether it is another one.
///
/// # Errors
/// `network`, `unauthorized`; `storage` where there is none.
pub(crate) async fn ask_index(net: &Net, base: &Url, validator: Option<&str>) -> Result<Asked> {
    let what = "the index of the registry";
    let url = address(base, "index.json")?;
    let mut call = Call::get(url.clone(), what);
    call.headers
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // One of another version is none.
    let validator = validator.and_then(|text| serde_json::from_str::<Validator>(text).ok());
    if let Some(validator) = &validator {
        validator.ask_with(&mut call.headers);
    }
    let mut answer = net.answer(&call, None, MAX_INDEX_BYTES).await?;
    let freshness = Freshness::of_headers(|name| answer.header(name));
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if validator.is_some() => return Ok(Asked::Unchanged(freshness)),
        StatusCode::NOT_FOUND | StatusCode::GONE => bail!(
            Storage,
            "there is no registry at {base}: it has no index.json"
        ),
        _ => bail!(Network, "{what}: {url} answered with {}", said(&answer)),
    }
    let body = std::mem::take(&mut answer.body);
    let index = decoded(&answer.headers, body, MAX_INDEX_BYTES, what)?;
    let page = answer
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/html"));
    if page || index.trim_ascii_start().starts_with(b"<") {
        return Err(no_page(what, &url));
    }
    let validator = Validator::of(&answer).map(|validator| serde_json::to_string(&validator));
    Ok(Asked::Changed {
        index,
        validator: validator
            .transpose()
            .map_err(|e| err!(Internal, "a validator has no JSON form: {e}"))?,
        freshness,
    })
}

fn address(base: &Url, path: &str) -> Result<Url> {
    base.join(path)
        .map_err(|e| err!(Internal, "the address of {path}: {e}"))
}

impl Store for HttpStore {
    fn index(&self) -> Result<Vec<u8>> {
        match self.net.run(ask_index(&self.net, &self.base, None))? {
            Asked::Changed { index, .. } => Ok(index),
            Asked::Unchanged(_) => bail!(Internal, "the index was asked for without a condition"),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.download(descriptor)?.into_vec(descriptor.size)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.download(descriptor)?))
    }
}
