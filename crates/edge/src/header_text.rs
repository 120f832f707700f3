//! Values of headers that every answer has: put together on the stack, since they are
//! written for each request. It refuses what does not fit: such a header is left out.

use poem::http::HeaderValue;
use uuid::Uuid;

/// At most `N` characters.
pub struct HeaderText<const N: usize> {
    bytes: [u8; N],
    length: usize,
    fits: bool,
}

impl<const N: usize> HeaderText<N> {
    pub fn new(text: &str) -> Self {
        let empty = Self {
            bytes: [0; N],
            length: 0,
            fits: true,
        };
        empty.text(text)
    }

    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        let end = self.length + text.len();
        match self.bytes.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                self.length = end;
            }
            None => self.fits = false,
        }
        self
    }

    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.digits(number, 1)
    }

    /// With zeros before it, up to so many digits.
    #[must_use]
    pub fn digits(self, mut number: u64, at_least: usize) -> Self {
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        while number > 0 || digits.len() - first < at_least.min(20) {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        match std::str::from_utf8(&digits[first..]) {
            Ok(digits) => self.text(digits),
            Err(_) => self,
        }
    }

    /// Sixteen hexadecimal digits.
    #[must_use]
    pub fn hexadecimal(self, number: u64) -> Self {
        let mut buffer = Uuid::encode_buffer();
        let id = Uuid::from_u128(u128::from(number));
        let all = id.simple().encode_lower(&mut buffer);
        self.text(&all[16..])
    }

    #[must_use]
    pub fn simple(self, id: Uuid) -> Self {
        self.text(id.simple().encode_lower(&mut Uuid::encode_buffer()))
    }

    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..self.length).filter(|_| self.fits);
        text.and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }

    /// None where it did not fit.
    pub fn value(&self) -> Option<HeaderValue> {
        let text = self.bytes.get(..self.length).filter(|_| self.fits)?;
        HeaderValue::from_bytes(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_format_would() {
        for number in [0, 7, 10, 4_711, u64::MAX] {
            let text = HeaderText::<96>::new("a=").number(number).text(";b=");
            let text = text.digits(number, 3).text(";c=").hexadecimal(number);
            let wanted = format!("a={number};b={number:03};c={number:016x}");
            assert_eq!(text.as_str(), wanted);
        }
        let id = Uuid::from_u128(0x11);
        assert_eq!(
            HeaderText::<32>::new("").simple(id).as_str(),
            id.simple().to_string()
        );
    }

    #[test]
    fn what_does_not_fit_is_no_header() {
        let full = HeaderText::<4>::new("abcd");
        assert!(full.value().is_some());
        let over = full.number(1);
        assert_eq!((over.as_str(), over.value()), ("", None));
    }
}
