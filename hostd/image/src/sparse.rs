//! Files with holes, in the four forms in which GNU tar writes them.

use crate::{field::number, pax::decimal};

/// Most pieces of one file's data that are kept apart.
pub(crate) const PIECES_MAX: usize = 16 << 10;
/// Bytes of one entry of the old form's map.
const OLD: usize = 24;

/// A piece of a file's data: where it lies in the file, and how long it is.
pub(crate) type Piece = (u64, u64);

/// What extended headers say of a file with holes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Name of the file; in the newer forms the header has another.
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    /// Whether the map stands before the data.
    pub(crate) map_in_data: bool,
    pub(crate) map: Option<Vec<Piece>>,
    offset: Option<u64>,
}

impl Said {
    /// Takes a record whose key begins with `GNU.sparse.`; other keys are left alone.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let number = || decimal(value).ok_or_else(|| BAD.to_owned());
        match key {
            b"GNU.sparse.major" => self.map_in_data = number()? >= 1,
            b"GNU.sparse.name" => self.name = Some(value.into()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.real_size = Some(number()?),
            b"GNU.sparse.offset" => self.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = self.offset.take().ok_or(BAD)?;
                let map = self.map.get_or_insert_default();
                push(map, (offset, number()?))?;
            }
            b"GNU.sparse.map" => {
                let mut numbers = value.split(|byte| *byte == b',').filter(|text| !text.is_empty());
                let mut map = vec![];
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().ok_or(BAD)?;
                    push(&mut map, (decimal(offset).ok_or(BAD)?, decimal(length).ok_or(BAD)?))?;
                }
                self.map = Some(map);
            }
            _ => {}
        }
        Ok(())
    }
}

const BAD: &str = "the map of a file with holes makes no sense";

pub(crate) fn push(map: &mut Vec<Piece>, piece: Piece) -> Result<(), String> {
    if map.len() == PIECES_MAX {
        return Err(format!("a file has more than {PIECES_MAX} holes"));
    }
    map.push(piece);
    Ok(())
}

/// Entries of a map of the old form, up to the first that is empty.
pub(crate) fn old(map: &mut Vec<Piece>, bytes: &[u8]) -> Result<(), String> {
    for entry in bytes.chunks_exact(OLD) {
        if entry[0] == 0 {
            break;
        }
        push(map, (number(&entry[..12])?, number(&entry[12..])?))?;
    }
    Ok(())
}

/// Checks a map: in order, within the file, and as long as the data that there is. What is empty is left out.
pub(crate) fn checked(map: Vec<Piece>, size: u64, data: u64) -> Result<Vec<Piece>, String> {
    let (mut end, mut total) = (0u64, 0u64);
    for (offset, length) in &map {
        if *offset < end {
            return Err(BAD.into());
        }
        end = offset.checked_add(*length).filter(|end| *end <= size).ok_or(BAD)?;
        total = total.checked_add(*length).ok_or(BAD)?;
    }
    if total != data {
        return Err(BAD.into());
    }
    let mut map = map;
    map.retain(|(_, length)| *length > 0);
    // It is kept as long as its file.
    map.shrink_to_fit();
    Ok(map)
}
