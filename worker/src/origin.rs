//! A registry on a static host, over the outgoing HTTP of `wasi:http`.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use spin_sdk::http::Response;
use spin_sdk::wasip3::http::types::{ErrorCode, RequestOptions};
use spin_sdk::wasip3::http_compat::{IncomingResponseBody, RequestOptionsExtension};
use twinfer::{Error, Result, bail, err};
use twinfer_cache::{Asked, Body, Freshness, Opened, Origin, Wanted};
use twinfer_package::Reference;
use twinfer_package::limits::{MAX_DEPLOYMENT_BYTES, MAX_INDEX_BYTES};

use twinfer_serve::{Address, redirected};

const USER_AGENT: &str = concat!("twinfer/", env!("CARGO_PKG_VERSION"));
const MAX_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long an index or a deployment may take in all: they are small, and nothing else limits a
/// slow drip.
const INDEX: Duration = Duration::from_secs(30);
/// How long the keys of an issuer may take: a request waits for them.
const ISSUER: Duration = Duration::from_secs(5);
/// Most bytes of them.
const MAX_ISSUER_KEYS: usize = 256 << 10;
/// An ETag has quotes; this is in front of a date, where a server has no ETags.
const MODIFIED: &str = "modified ";

/// A static host.
pub(crate) struct StaticHost {
    address: Address,
}

impl StaticHost {
    pub(crate) fn new(address: Address) -> Self {
        Self { address }
    }

    /// Sends a request, and follows where it leads.
    async fn get(&self, url: String, headers: &HeaderMap) -> Result<(String, Response)> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let response = spin_sdk::http::send(request(&url, headers)?)
                .await
                .map_err(|code| failed(&url, &code))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((url, response));
            }
            let Some(location) = text(response.headers(), "location") else {
                bail!(Network, "{url} leads elsewhere, and does not say where");
            };
            url = redirected(&url, location)?;
        }
        bail!(Network, "{url}: more than {MAX_REDIRECTS} redirects")
    }

    async fn ask(&self, validator: Option<&str>) -> Result<Asked> {
        let mut headers = HeaderMap::new();
        if let Some(validator) = validator {
            let (name, value) = match validator.strip_prefix(MODIFIED) {
                Some(date) => (header::IF_MODIFIED_SINCE, date),
                None => (header::IF_NONE_MATCH, validator),
            };
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        let (url, mut response) = self.get(self.address.file("index.json"), &headers).await?;
        let freshness = Freshness::of_headers(|name| text(response.headers(), name));
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if validator.is_some() => {
                return Ok(Asked::Unchanged(freshness));
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => bail!(
                NotFound,
                "there is no registry at {}: it has no index.json",
                self.address.as_str()
            ),
            status => return Err(refused(&url, status)),
        }
        check_form(&url, response.headers())?;
        let etag = text(response.headers(), "etag").map(str::to_owned);
        let date = || text(response.headers(), "last-modified");
        let validator = etag.or_else(|| date().map(|date| format!("{MODIFIED}{date}")));
        Ok(Asked::Changed {
            index: whole(&url, &mut response, MAX_INDEX_BYTES).await?,
            validator,
            freshness,
        })
    }

    async fn ask_for_deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let url = self.address.file(&format!("deployments/{name}.json"));
        let (url, mut response) = self.get(url, &HeaderMap::new()).await?;
        match response.status() {
            StatusCode::OK => {}
            // Stores of objects forbid what is not there to whoever may not list them.
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::FORBIDDEN
            | StatusCode::UNAUTHORIZED => return Ok(None),
            status => return Err(refused(&url, status)),
        }
        // What hosts of applications send in the place of files that are not there.
        if is_page(response.headers()) {
            return Ok(None);
        }
        check_form(&url, response.headers())?;
        let document = whole(&url, &mut response, MAX_DEPLOYMENT_BYTES).await?;
        Ok(Some(document))
    }

    /// What comes within the time of a small document.
    async fn soon<T>(&self, what: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
        match select(pin!(asked), pin!(spin_sdk::time::sleep(INDEX))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => bail!(
                Network,
                "{what} of {} did not arrive within {INDEX:?}",
                self.address.as_str()
            ),
        }
    }
}

impl Origin for StaticHost {
    type Body = Arriving;

    fn id(&self) -> &str {
        self.address.as_str()
    }

    fn index_key(&self, _reference: &Reference) -> String {
        // One for all references.
        String::new()
    }

    async fn index(&self, _reference: &Reference, validator: Option<&str>) -> Result<Asked> {
        self.soon("the index", self.ask(validator)).await
    }

    async fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let asked = self.ask_for_deployment(name);
        self.soon(&format!("the deployment of `{name}`"), asked)
            .await
    }

    async fn open(&self, wanted: &Wanted, offset: u64, anew: bool) -> Result<Opened<Arriving>> {
        let mut headers = HeaderMap::new();
        if offset > 0
            && let Ok(range) = format!("bytes={offset}-").parse()
        {
            headers.insert(header::RANGE, range);
        }
        if anew {
            headers.insert(
                header::CACHE_CONTROL,
                http::HeaderValue::from_static("no-cache"),
            );
        }
        let path = format!("blobs/sha256/{}", wanted.digest.hex());
        let (url, response) = self.get(self.address.file(&path), &headers).await?;
        let begins = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => begin_of_range(&url, response.headers())?,
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => bail!(
                SizeMismatch,
                "{}: {url} has not more than {offset} bytes",
                wanted.label()
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE if wanted.size.is_none() => bail!(
                UnknownVersion,
                "there is no package {} in the registry: {url} does not exist",
                wanted.digest
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => bail!(
                MissingBlob,
                "{} is not in the registry: {url} does not exist",
                wanted.label()
            ),
            status => return Err(refused(&url, status)),
        };
        check_form(&url, response.headers())?;
        Ok(Opened {
            body: Arriving {
                url,
                body: response.into_body(),
            },
            offset: begins,
        })
    }
}

/// The keys of an issuer of tokens. Redirects are not followed: who answers is the issuer.
pub(crate) async fn issuer_keys(url: &str) -> std::result::Result<Vec<u8>, String> {
    let get = async {
        let sent = spin_sdk::http::send(request(url, &HeaderMap::new())?).await;
        let mut response = sent.map_err(|code| failed(url, &code))?;
        if response.status() != StatusCode::OK {
            return Err(refused(url, response.status()));
        }
        let mut keys = Vec::new();
        while let Some(piece) = next(url, response.body_mut()).await? {
            keys.extend_from_slice(&piece);
            if keys.len() > MAX_ISSUER_KEYS {
                bail!(Network, "{url}: more than {MAX_ISSUER_KEYS} bytes");
            }
        }
        Ok(keys)
    };
    let late = pin!(spin_sdk::time::sleep(ISSUER));
    match select(pin!(get), late).await {
        Either::Left((keys, _)) => keys.map_err(|error: Error| error.to_string()),
        Either::Right(_) => Err(format!("no answer within {ISSUER:?}")),
    }
}

/// The body of an answer.
pub(crate) struct Arriving {
    url: String,
    body: IncomingResponseBody,
}

impl Body for Arriving {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(next(&self.url, &mut self.body).await?.map(Vec::from))
    }
}

/// A small document. One that is too long is cut off beyond the limit: who reads it refuses it.
async fn whole(url: &str, response: &mut Response, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = next(url, response.body_mut()).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > limit {
            break;
        }
    }
    Ok(bytes)
}

async fn next(url: &str, body: &mut IncomingResponseBody) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|code| failed(url, &code))?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn request(url: &str, headers: &HeaderMap) -> Result<Request<Empty<Bytes>>> {
    let options = RequestOptions::new();
    // A host that knows no timeouts waits as long as it likes; the cache has its own.
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).ok();
    let _ = options.set_connect_timeout(nanoseconds(CONNECT));
    let _ = options.set_first_byte_timeout(nanoseconds(SILENCE));
    let _ = options.set_between_bytes_timeout(nanoseconds(SILENCE));
    let mut request = Request::get(url)
        .header(header::USER_AGENT, USER_AGENT)
        // Digests are over content as it is.
        .header(header::ACCEPT_ENCODING, "identity")
        .extension(RequestOptionsExtension(options))
        .body(Empty::new())
        .map_err(|e| err!(InvalidParameter, "{url} cannot be asked for: {e}"))?;
    request.headers_mut().extend(headers.clone());
    Ok(request)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_page(headers: &HeaderMap) -> bool {
    text(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html"))
}

/// Content that no registry would send.
fn check_form(url: &str, headers: &HeaderMap) -> Result<()> {
    if is_page(headers) {
        bail!(
            Network,
            "{url} is a web page, not a part of a registry: check the address"
        );
    }
    match text(headers, "content-encoding") {
        None | Some("" | "identity") => Ok(()),
        Some(encoding) => bail!(
            Network,
            "{url} came compressed (`{encoding}`), although it was asked for as it is: serve registries without compression"
        ),
    }
}

/// `bytes 100-199/200` begins at 100.
fn begin_of_range(url: &str, headers: &HeaderMap) -> Result<u64> {
    let range = text(headers, "content-range").unwrap_or_default();
    range
        .strip_prefix("bytes ")
        .and_then(|range| range.split_once('-')?.0.parse().ok())
        .ok_or_else(|| err!(Network, "{url} gave a part, and does not say which"))
}

fn refused(url: &str, status: StatusCode) -> Error {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => err!(
            Unauthorized,
            "{url} answered with status {status}: static hosts are read without credentials"
        ),
        _ => err!(Network, "{url} answered with status {status}"),
    }
}

fn failed(url: &str, code: &ErrorCode) -> Error {
    match code {
        // Another attempt has the same end; another mirror may be allowed.
        ErrorCode::HttpRequestDenied => err!(
            Storage,
            "{url}: the host does not let this component reach that server: allow its origin (`HostConfig::outbound` of Twinfer's host, `allowed_outbound_hosts` of Spin)"
        ),
        ErrorCode::InternalError(Some(reason)) => err!(Network, "{url}: {reason}"),
        code => err!(Network, "{url}: {code:?}"),
    }
}
