//! Places of values in the lines of a file.

/// The columns of a value in its line, counted in characters from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Columns {
    /// The first column; 0 if it is not known
    start: u32,
    /// The column after the last one; 0 if the value goes on in the next line
    end: u32,
}

impl Columns {
    /// Columns that are not known.
    pub const UNKNOWN: Self = Self { start: 0, end: 0 };

    /// The columns between two places of a file, which are lines from 1 and columns from 0.
    pub fn new(start: (usize, usize), end: (usize, usize)) -> Self {
        let column = |column: usize| u32::try_from(column + 1).unwrap_or_default();
        let is_one_line = start.0 == end.0 && end.1 > start.1;
        Self { start: column(start.1), end: if is_one_line { column(end.1) } else { 0 } }
    }

    /// The first column, and the one after the last, if it is in the same line. `None` if the
    /// columns are not known.
    pub fn range(self) -> Option<(u32, Option<u32>)> {
        (self.start > 0).then_some((self.start, (self.end > 0).then_some(self.end)))
    }

    /// The same as a range of bytes of the line, which is not empty unless the line ends there.
    pub fn bytes(self, line: &str) -> Option<(usize, usize)> {
        let (start, end) = self.range()?;
        let byte = |column: u32| {
            let place = line.char_indices().nth(column as usize - 1);
            place.map_or(line.len(), |(byte, _)| byte)
        };
        let (start, end) = (byte(start), end.map_or(line.trim_end().len(), byte));
        Some((start, end.max(start)))
    }
}

/// A line and the columns of a value in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The line, counted from 1; 0 if it is not known
    pub line: usize,
    /// The columns
    pub columns: Columns,
}

impl From<usize> for Position {
    /// A whole line.
    fn from(line: usize) -> Self {
        Self { line, columns: Columns::UNKNOWN }
    }
}
