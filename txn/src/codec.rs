//! The few primitives of the encodings on disk and in the log: integers big-endian or as varints, byte strings with their length in
//! front. Decoding slices the input instead of copying it, and never panics on damaged input.

use bytes::Bytes;

use crate::clock::Timestamp;

/// The input does not follow its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoding is damaged or of another version")]
pub(crate) struct Malformed;

/// Appends a varint: seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a byte string.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an optional byte string.
pub(crate) fn put_option(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            out.push(1);
            put_bytes(out, bytes);
        }
    }
}

/// Appends a timestamp, big-endian.
pub(crate) fn put_timestamp(out: &mut Vec<u8>, at: Timestamp) {
    out.extend_from_slice(&at.0.to_be_bytes());
}

/// Reads what the functions above have written, front to back.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(input: Bytes) -> Self {
        Reader { rest: input }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?;
        Ok(u64::from_be_bytes(bytes.as_ref().try_into().map_err(|_| Malformed)?))
    }

    pub(crate) fn timestamp(&mut self) -> Result<Timestamp, Malformed> {
        self.u64().map(Timestamp)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    pub(crate) fn option(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            _ => Err(Malformed),
        }
    }

    /// Reads a count and so many items.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        // An item takes at least a byte, so a damaged count cannot ask for more memory than the input is long.
        if count > self.rest.len() {
            return Err(Malformed);
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() {
            return Err(Malformed);
        }
        Ok(self.rest.split_to(length))
    }
}

/// Appends a count and so many items.
pub(crate) fn put_list<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    put_varint(out, items.len() as u64);
    for each in items {
        item(out, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        for value in [0, 127, 128, 300, u64::MAX] {
            put_varint(&mut out, value);
        }
        put_bytes(&mut out, b"key");
        put_option(&mut out, None);
        put_option(&mut out, Some(&Bytes::from_static(b"")));
        put_timestamp(&mut out, Timestamp(7));
        put_list(&mut out, &[1u64, 2], |out, v| put_varint(out, *v));
        let mut reader = Reader::new(out.into());
        for value in [0, 127, 128, 300, u64::MAX] {
            assert_eq!(reader.varint(), Ok(value));
        }
        assert_eq!(reader.bytes().unwrap(), "key");
        assert_eq!(reader.option(), Ok(None));
        assert_eq!(reader.option(), Ok(Some(Bytes::new())));
        assert_eq!(reader.timestamp(), Ok(Timestamp(7)));
        assert_eq!(reader.list(Reader::varint), Ok(vec![1, 2]));
        assert!(reader.is_empty());
    }

    #[test]
    fn damage_is_an_error_and_asks_for_no_memory() {
        assert_eq!(
            Reader::new(Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")).varint(),
            Err(Malformed)
        );
        assert_eq!(Reader::new(Bytes::from_static(b"\x05abc")).bytes(), Err(Malformed));
        assert_eq!(Reader::new(Bytes::from_static(b"\xff\xff\xff\xff\x0fx")).list(Reader::byte), Err(Malformed));
        assert_eq!(Reader::new(Bytes::from_static(b"\x02")).option(), Err(Malformed));
    }
}
