//! A control sequence taken apart.

/// A `CSI` sequence, as its bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csi<'a> {
    /// Prefix of the parameters: one of `<=>?`, or 0.
    pub prefix: u8,
    fields: &'a [u8],
    /// Intermediate byte: one of `!` to `/` and the blank, or 0.
    pub intermediate: u8,
    /// Last byte, which says what the sequence does.
    pub last: u8,
}

impl<'a> Csi<'a> {
    /// Parses a sequence. None: no CSI, or not one that a terminal would carry out.
    #[must_use]
    pub fn parse(sequence: &'a [u8]) -> Option<Self> {
        let (&last, body) = sequence.strip_prefix(b"\x1b[")?.split_last()?;
        let (prefix, body) = match body {
            [prefix @ b'<'..=b'?', rest @ ..] => (*prefix, rest),
            _ => (0, body),
        };
        let end = body.iter().position(|byte| !(b'0'..=b';').contains(byte)).unwrap_or(body.len());
        let (fields, marks) = body.split_at(end);
        let intermediate = match marks {
            [] => 0,
            [mark @ 0x20..=0x2f] => *mark,
            _ => return None,
        };
        Some(Self { prefix, fields, intermediate, last })
    }

    /// Prefix, intermediate and last byte.
    #[must_use]
    pub fn name(&self) -> (u8, u8, u8) {
        (self.prefix, self.intermediate, self.last)
    }

    /// Parameters of the sequence: those between semicolons, each with what stands between its colons.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let fields = self.fields;
        (!fields.is_empty()).then(|| fields.split(|byte| *byte == b';')).into_iter().flatten().map(Field)
    }

    /// The parameter at `index`, from 0; None where it is left out.
    #[must_use]
    pub fn number(&self, index: usize) -> Option<u16> {
        self.fields().nth(index)?.parts().next().flatten()
    }

    /// The parameter at `index`, from 0, where left out and 0 mean `default`.
    #[must_use]
    pub fn count(&self, index: usize, default: u16) -> u16 {
        self.number(index).filter(|number| *number > 0).unwrap_or(default)
    }
}

/// A parameter of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a>(&'a [u8]);

impl<'a> Field<'a> {
    /// Numbers of the parameter: one, or several between colons; None for one that is left out. At most 65535.
    pub fn parts(self) -> impl Iterator<Item = Option<u16>> + use<'a> {
        self.0.split(|byte| *byte == b':').map(|digits| {
            (!digits.is_empty()).then(|| {
                digits
                    .iter()
                    .fold(0_u16, |number, digit| number.saturating_mul(10).saturating_add((digit & 0xf).into()))
            })
        })
    }

    /// Whether the parameter has colons.
    #[must_use]
    pub fn is_divided(self) -> bool {
        self.0.contains(&b':')
    }
}
