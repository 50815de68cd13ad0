//! An image layout on a static host.

use std::io::Read;
use std::sync::Arc;

use reqwest::{StatusCode, Url};
use twinfer::{Result, bail, err};
use twinfer_package::limits::MAX_INDEX_BYTES;
use twinfer_package::{Descriptor, Store};

use crate::NetOptions;
use crate::download::{Download, Source, no_page};
use crate::net::{Call, Net, said};

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

    fn url(&self, path: &str) -> Result<Url> {
        self.base
            .join(path)
            .map_err(|e| err!(Internal, "the address of {path}: {e}"))
    }

    fn download(&self, descriptor: &Descriptor) -> Result<Download> {
        let source = Source {
            net: self.net.clone(),
            auth: None,
            url: self.url(&format!("blobs/sha256/{}", descriptor.digest.hex()))?,
            accept: None,
        };
        Download::begin(source, descriptor)
    }
}

impl Store for HttpStore {
    fn index(&self) -> Result<Vec<u8>> {
        let url = self.url("index.json")?;
        let what = "the index of the registry";
        let answer = self
            .net
            .fetch(&Call::get(url.clone(), what), None, MAX_INDEX_BYTES)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => bail!(
                Storage,
                "there is no registry at {}: it has no index.json",
                self.base
            ),
            _ => bail!(Network, "{what}: {url} answered with {}", said(&answer)),
        }
        let page = answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"));
        if page || answer.body.trim_ascii_start().starts_with(b"<") {
            return Err(no_page(what, &url));
        }
        Ok(answer.body)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.download(descriptor)?.into_vec(descriptor.size)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.download(descriptor)?))
    }
}
