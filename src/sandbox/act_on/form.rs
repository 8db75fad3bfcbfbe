//! A multipart form read strictly: a request comes in, its fields and its file go out.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header::CONTENT_TYPE;

use super::answers::Broken;
use crate::sandbox::api::Call;

/// The name of the part that carries the file.
const FILE: &str = "file";

/// What a form carries.
#[derive(Debug, Default)]
pub(super) struct Form {
    fields: BTreeMap<String, String>,
    file: Option<Bytes>,
}

impl Form {
    /// Reads the request's form, whose text fields are among `known`.
    ///
    /// # Errors
    /// No multipart form, a part that is broken, unknown or there twice, or a text that is not UTF-8.
    pub fn read(call: &Call, known: &[&str]) -> Result<Self, Broken> {
        let content_type = call.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type)
            .map_err(|_| "the content type must be multipart/form-data with a boundary")?;
        let body = call.body().clone();
        let parts = multer::Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
        // The body is there as a whole, so reading it never waits.
        Self::collect(parts, known).now_or_never().unwrap_or_else(|| Err("the form is cut short".into()))
    }

    async fn collect(mut parts: multer::Multipart<'_>, known: &[&str]) -> Result<Self, Broken> {
        let unreadable = |error: multer::Error| Broken::Rule(format!("the form cannot be read: {error}"));
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await.map_err(unreadable)? {
            let name = part.name().ok_or("a part of the form has no name")?.to_owned();
            let is_file = part.file_name().is_some();
            let content = part.bytes().await.map_err(unreadable)?;
            if is_file != (name == FILE) {
                return Err(format!("{name}: only the part {FILE} is a file, and it must be one").into());
            }
            let first = if is_file {
                form.file.replace(content).is_none()
            } else if known.contains(&name.as_str()) {
                let text = String::from_utf8(content.into()).map_err(|_| format!("{name}: is not UTF-8"))?;
                form.fields.insert(name.clone(), text).is_none()
            } else {
                return Err(format!("{name}: is not a parameter of this endpoint").into());
            };
            if !first {
                return Err(format!("{name}: is given twice").into());
            }
        }
        Ok(form)
    }

    /// A field that must be there and not empty.
    ///
    /// # Errors
    /// It is missing.
    pub fn required(&self, name: &'static str) -> Result<&str, Broken> {
        self.optional(name).filter(|value| !value.is_empty()).ok_or(Broken::Missing(name))
    }

    /// A field that may be left out.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<&Bytes> {
        self.file.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str) -> Result<Form, Broken> {
        let call = http::Request::builder().header(CONTENT_TYPE, content_type).body(body.to_owned().into()).unwrap();
        Form::read(&call, &["a", "b"])
    }

    const TYPE: &str = "multipart/form-data; boundary=X";

    #[test]
    fn fields_and_file_are_read_to_the_byte() {
        let body = "--X\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--2\n\r\n--X\r\n\
                    content-disposition: form-data; name=\"file\"; filename=\"f.csv\"\r\ncontent-type: text/csv\r\n\r\n\
                    x,y\r\n\r\n--X--\r\n";
        let form = read(TYPE, body).unwrap();
        assert_eq!(form.required("a").unwrap(), "1\r\n--2\n");
        assert_eq!(form.file().unwrap(), "x,y\r\n");
        assert_eq!(form.required("b"), Err(Broken::Missing("b")));
    }

    #[test]
    fn what_is_cut_short_or_no_form_is_refused() {
        for (content_type, body) in [
            (TYPE, "--X\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1"),
            (TYPE, "--X\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X\r\n"),
            (TYPE, "--Y\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--Y--\r\n"),
            (TYPE, "--X\r\ncontent-disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n1\r\n--X--\r\n"),
            (TYPE, "--X\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n1\r\n--X--\r\n"),
            (TYPE, "--X\r\ncontent-disposition: form-data\r\n\r\n1\r\n--X--\r\n"),
            (TYPE, ""),
            ("multipart/form-data", "--X--\r\n"),
            ("application/json", "{}"),
        ] {
            assert!(read(content_type, body).is_err(), "{content_type}: {body:?}");
        }
    }
}
