//! Text to tokens. Dotted words (`ld.global.v4.b32`, `%tid.x`, `.reg`, `shared::cta`) are one token.

use super::PtxError;

/// A token with its line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'a> {
    pub kind: TokenKind<'a>,
    pub line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// Identifier, register, label, directive or opcode, with its dots.
    Word(&'a str),
    /// Integer literal; negation is a token of its own.
    Int(u64),
    /// `0f` literal: the bits of an f32.
    Float32(u32),
    /// `0d` or decimal literal: the bits of an f64.
    Float64(u64),
    /// Quoted text.
    Text(&'a str),
    /// Any other character.
    Mark(char),
    /// End of the text.
    End,
}

impl std::fmt::Display for TokenKind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Int(value) => write!(f, "`{value}`"),
            Self::Float32(_) | Self::Float64(_) => f.write_str("a floating-point literal"),
            Self::Text(_) => f.write_str("quoted text"),
            Self::Mark(mark) => write!(f, "`{mark}`"),
            Self::End => f.write_str("the end of the text"),
        }
    }
}

/// Splits text into tokens, ending with [`TokenKind::End`].
pub(super) fn tokenize(text: &str) -> Result<Vec<Token<'_>>, PtxError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    loop {
        lexer.skip_blank()?;
        let line = lexer.line;
        let kind = lexer.next_kind()?;
        tokens.push(Token { kind, line });
        if kind == TokenKind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.')
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text
            .as_bytes()
            .get(self.at + ahead)
            .copied()
            .unwrap_or(0)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip_blank(&mut self) -> Result<(), PtxError> {
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'\n', _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (b'/', b'/') => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                (b'/', b'*') => {
                    let Some(length) = self.rest().find("*/") else {
                        return Err(PtxError::new(self.line, "a comment is not closed"));
                    };
                    self.line += self.rest()[..length].matches('\n').count() as u32;
                    self.at += length + 2;
                }
                (byte, _) if byte.is_ascii_whitespace() => self.at += 1,
                _ => break,
            }
        }
        Ok(())
    }

    fn next_kind(&mut self) -> Result<TokenKind<'a>, PtxError> {
        let Some(first) = self.rest().chars().next() else {
            return Ok(TokenKind::End);
        };
        let byte = self.peek(0);
        if byte.is_ascii_digit() {
            return self.number();
        }
        if starts_word(byte) {
            return Ok(TokenKind::Word(self.word()));
        }
        if byte == b'"' {
            return self.quoted();
        }
        self.at += first.len_utf8();
        Ok(TokenKind::Mark(first))
    }

    fn word(&mut self) -> &'a str {
        let start = self.at;
        self.at += 1;
        loop {
            if continues_word(self.peek(0)) {
                self.at += 1;
            } else if self.peek(0) == b':'
                && self.peek(1) == b':'
                && self.peek(2).is_ascii_alphanumeric()
            {
                self.at += 2;
            } else {
                return self.text.get(start..self.at).unwrap_or("");
            }
        }
    }

    fn quoted(&mut self) -> Result<TokenKind<'a>, PtxError> {
        let body = self.rest().get(1..).unwrap_or("");
        let Some(length) = body
            .find(['"', '\n'])
            .filter(|end| body.as_bytes()[*end] == b'"')
        else {
            return Err(PtxError::new(
                self.line,
                "quoted text is not closed on its line",
            ));
        };
        self.at += length + 2;
        Ok(TokenKind::Text(&body[..length]))
    }

    fn number(&mut self) -> Result<TokenKind<'a>, PtxError> {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric()
            || self.peek(0) == b'.'
            || self.signed_exponent(start)
        {
            self.at += 1;
        }
        let literal = self.text.get(start..self.at).unwrap_or("");
        parse_number(literal)
            .ok_or_else(|| PtxError::new(self.line, format!("`{literal}` is no number of PTX")))
    }

    /// A sign that belongs to a decimal exponent, as in `1.5e-3`.
    fn signed_exponent(&self, start: usize) -> bool {
        let before = self.text.get(start..self.at).unwrap_or("");
        matches!(self.peek(0), b'+' | b'-') && before.contains('.') && before.ends_with(['e', 'E'])
    }
}

fn parse_number(literal: &str) -> Option<TokenKind<'static>> {
    let radix = |digits: &str, radix| {
        u64::from_str_radix(digits.trim_end_matches('U'), radix)
            .ok()
            .map(TokenKind::Int)
    };
    match literal.as_bytes() {
        [b'0', b'f' | b'F', ..] if literal.len() == 10 => u32::from_str_radix(&literal[2..], 16)
            .ok()
            .map(TokenKind::Float32),
        [b'0', b'd' | b'D', ..] if literal.len() == 18 => u64::from_str_radix(&literal[2..], 16)
            .ok()
            .map(TokenKind::Float64),
        [b'0', b'x' | b'X', ..] => radix(&literal[2..], 16),
        [b'0', b'b' | b'B', ..] => radix(&literal[2..], 2),
        _ if literal.contains('.') => literal
            .parse::<f64>()
            .ok()
            .map(|value| TokenKind::Float64(value.to_bits())),
        [b'0', b'0'..=b'9', ..] => radix(&literal[1..], 8),
        _ => radix(literal, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind<'_>> {
        tokenize(text)
            .unwrap()
            .into_iter()
            .map(|token| token.kind)
            .collect()
    }

    #[test]
    fn words_keep_their_dots_and_numbers_their_bits() {
        use TokenKind::*;
        assert_eq!(
            kinds("cp.async.ca.shared::cta.global [%r1+16], 0f3F800000; // tail"),
            [
                Word("cp.async.ca.shared::cta.global"),
                Mark('['),
                Word("%r1"),
                Mark('+'),
                Int(16),
                Mark(']'),
                Mark(','),
                Float32(0x3f80_0000),
                Mark(';'),
                End
            ]
        );
        assert_eq!(
            kinds("L1: 0x1F 017 0b11 1.5 0d3FF0000000000000")[2..],
            [
                Int(31),
                Int(15),
                Int(3),
                Float64(1.5f64.to_bits()),
                Float64(1f64.to_bits()),
                End
            ]
        );
    }

    #[test]
    fn lines_are_counted_through_comments() {
        let tokens = tokenize("/* a\nb */ ret\n;").unwrap();
        assert_eq!(
            tokens.iter().map(|token| token.line).collect::<Vec<_>>(),
            [2, 3, 3]
        );
    }

    #[test]
    fn what_is_not_closed_is_an_error() {
        assert_eq!(tokenize("ret;\n/* open").unwrap_err().line, 2);
        assert!(tokenize("\"open\n\"").is_err());
        assert!(tokenize("0xZZ").is_err());
    }
}
