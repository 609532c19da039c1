//! The text of a configuration: finds line and column of what is wrong in it.

use std::ops::{Range, RangeInclusive};

use super::error::{ConfigError, What};
use super::file::Whole;

/// The text, to turn places into lines.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Line and column, both from 1.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    pub(super) fn form(&self, error: &toml::de::Error) -> ConfigError {
        let (line, column) = self.place(error.span().map_or(0, |span| span.start));
        let text = self.text.lines().nth(line - 1).unwrap_or_default().trim();
        // The parser names an unknown key itself.
        let key = match text.split_once('=') {
            Some((key, _)) if !error.message().contains(&format!("`{}`", key.trim())) => {
                format!("{}: ", key.trim())
            }
            None if text.starts_with('[') => format!("{text}: "),
            _ => String::new(),
        };
        let message = error.message().replace('\n', "; ");
        ConfigError::Form { file: self.file.into(), line, column, key, message }
    }

    pub(super) fn value(&self, key: &'static str, span: &Range<usize>, what: What) -> ConfigError {
        let (line, column) = self.place(span.start);
        let value = self.text.get(span.clone()).unwrap_or_default().to_owned();
        ConfigError::Value { file: self.file.into(), line, column, key, value, what: Box::new(what) }
    }

    /// A number in a range, whatever integer it becomes.
    pub(super) fn whole<T: TryFrom<i64>>(
        &self, key: &'static str, value: &Whole, range: RangeInclusive<u64>,
    ) -> Result<T, ConfigError> {
        let number = *value.get_ref();
        let inside = u64::try_from(number).is_ok_and(|number| range.contains(&number));
        let number = T::try_from(number).ok().filter(|_| inside);
        number.ok_or_else(|| self.value(key, &value.span(), What::Range(range)))
    }

    pub(super) fn whole_or<T: TryFrom<i64>>(
        &self, key: &'static str, value: Option<&Whole>, range: RangeInclusive<u64>, default: T,
    ) -> Result<T, ConfigError> {
        value.map_or(Ok(default), |value| self.whole(key, value, range))
    }
}
