//! Tokens to syntax: module directives and declarations. Bodies are in `parse_body`.

use super::PtxError;
use super::lexer::{Token, TokenKind, tokenize};
use super::syntax::{Entry, Initial, ModuleSyntax, Variable, VariableSpace};
use super::types::Type;

/// Static variables larger than this cannot be meant.
const MAX_VARIABLE_BYTES: u64 = 1 << 32;

pub(super) fn parse(text: &str) -> Result<ModuleSyntax<'_>, PtxError> {
    let mut parser = Parser {
        tokens: tokenize(text)?,
        at: 0,
    };
    let mut module = ModuleSyntax::default();
    while parser.kind() != TokenKind::End {
        parser.module_item(&mut module)?;
    }
    if module.version == (0, 0) {
        return Err(PtxError::new(1, "no `.version`: this is not PTX"));
    }
    Ok(module)
}

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn kind(&self) -> TokenKind<'a> {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, count: usize) -> TokenKind<'a> {
        self.tokens
            .get(self.at + count)
            .map_or(TokenKind::End, |token| token.kind)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(1, |token| token.line)
    }

    pub(super) fn advance(&mut self) -> TokenKind<'a> {
        let kind = self.kind();
        self.at += 1;
        kind
    }

    pub(super) fn error(&self, expected: &str) -> PtxError {
        PtxError::new(
            self.line(),
            format!("expected {expected}, found {}", self.kind()),
        )
    }

    pub(super) fn take(&mut self, mark: char) -> bool {
        let found = self.kind() == TokenKind::Mark(mark);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), PtxError> {
        if self.take(mark) {
            Ok(())
        } else {
            Err(self.error(&format!("`{mark}`")))
        }
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, PtxError> {
        match self.kind() {
            TokenKind::Word(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.error(what)),
        }
    }

    pub(super) fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.kind() == TokenKind::Word(wanted);
        self.at += usize::from(found);
        found
    }

    pub(super) fn int(&mut self) -> Result<u64, PtxError> {
        match self.kind() {
            TokenKind::Int(value) => {
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.error("an integer")),
        }
    }

    pub(super) fn small(&mut self) -> Result<u32, PtxError> {
        let line = self.line();
        let value = self.int()?;
        u32::try_from(value).map_err(|_| PtxError::new(line, format!("{value} is too large here")))
    }

    /// Skips to just after the next occurrence of `mark` at this depth of braces.
    pub(super) fn skip_past(&mut self, mark: char) -> Result<(), PtxError> {
        loop {
            match self.advance() {
                TokenKind::Mark(found) if found == mark => return Ok(()),
                TokenKind::End => return Err(self.error(&format!("`{mark}`"))),
                _ => {}
            }
        }
    }

    fn module_item(&mut self, module: &mut ModuleSyntax<'a>) -> Result<(), PtxError> {
        let line = self.line();
        match self.word("a directive")? {
            ".version" => module.version = self.version()?,
            ".target" => {
                module.target = self.word("a target such as `sm_80`")?;
                while self.take(',') {
                    self.word("a target option")?;
                }
            }
            ".address_size" => {
                let size = self.int()?;
                if size != 64 {
                    return Err(PtxError::new(
                        line,
                        format!("address size {size}: only 64-bit PTX runs"),
                    ));
                }
            }
            ".visible" | ".weak" | ".common" | ".extern" => {}
            ".entry" => {
                let entry = self.entry(line)?;
                module.entries.push(entry);
            }
            ".func" => self.skip_function()?,
            ".file" => self.skip_line(line),
            ".section" => self.skip_braces()?,
            ".pragma" | ".alias" => self.skip_past(';')?,
            ".global" => self.variables(VariableSpace::Global, &mut module.variables)?,
            ".const" => self.variables(VariableSpace::Const, &mut module.variables)?,
            ".shared" => self.variables(VariableSpace::Shared, &mut module.variables)?,
            other => return Err(PtxError::new(line, format!("unknown directive `{other}`"))),
        }
        Ok(())
    }

    /// `.version 8.7`: the lexer reads the number as a fraction.
    fn version(&mut self) -> Result<(u32, u32), PtxError> {
        let line = self.line();
        let TokenKind::Float64(bits) = self.advance() else {
            return Err(PtxError::new(line, "expected a version such as 8.7"));
        };
        let tenths = f64::from_bits(bits) * 10.0;
        if !(10.0..1000.0).contains(&tenths) {
            return Err(PtxError::new(line, "expected a version such as 8.7"));
        }
        let tenths = tenths.round() as u32;
        Ok((tenths / 10, tenths % 10))
    }

    fn skip_line(&mut self, line: u32) {
        while self.line() == line && self.kind() != TokenKind::End {
            self.at += 1;
        }
    }

    /// Skips a brace-enclosed block, and what precedes it.
    fn skip_braces(&mut self) -> Result<(), PtxError> {
        self.skip_past('{')?;
        let mut depth = 1usize;
        while depth > 0 {
            match self.advance() {
                TokenKind::Mark('{') => depth += 1,
                TokenKind::Mark('}') => depth -= 1,
                TokenKind::End => return Err(self.error("`}`")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Device functions: only a `call` needs them, and that is an error of its own.
    fn skip_function(&mut self) -> Result<(), PtxError> {
        loop {
            match self.kind() {
                TokenKind::Mark('{') => return self.skip_braces(),
                TokenKind::Mark(';') => {
                    self.at += 1;
                    return Ok(());
                }
                TokenKind::End => return Err(self.error("`;` or a function body")),
                _ => self.at += 1,
            }
        }
    }

    fn entry(&mut self, line: u32) -> Result<Entry<'a>, PtxError> {
        let name = self.word("a kernel name")?;
        let mut params = Vec::new();
        if self.take('(') {
            while !self.take(')') {
                if !self.take_word(".param") {
                    return Err(self.error("`.param` or `)`"));
                }
                params.push(self.variable(VariableSpace::Param)?);
                self.take(',');
            }
        }
        let max_threads = self.performance_directives()?;
        let body = self.body()?;
        Ok(Entry {
            name,
            line,
            params,
            max_threads,
            body,
        })
    }

    fn performance_directives(&mut self) -> Result<Option<[u32; 3]>, PtxError> {
        let mut max_threads = None;
        while let TokenKind::Word(directive) = self.kind() {
            self.at += 1;
            match directive {
                ".maxntid" | ".reqntid" => max_threads = Some(self.extents()?),
                ".minnctapersm" | ".maxnreg" | ".maxclusterrank" => {
                    self.int()?;
                }
                ".reqnctapercluster" => {
                    self.extents()?;
                }
                ".noreturn" | ".explicitcluster" | ".blocksareclusters" => {}
                ".pragma" => self.skip_past(';')?,
                other => {
                    return Err(PtxError::new(
                        self.line(),
                        format!("unknown kernel directive `{other}`"),
                    ));
                }
            }
        }
        Ok(max_threads)
    }

    fn extents(&mut self) -> Result<[u32; 3], PtxError> {
        let mut extents = [self.small()?, 1, 1];
        for extent in extents.iter_mut().skip(1) {
            if self.take(',') {
                *extent = self.small()?;
            }
        }
        Ok(extents)
    }

    /// The declarators of one variable directive, up to its semicolon.
    pub(super) fn variables(
        &mut self,
        space: VariableSpace,
        into: &mut Vec<Variable<'a>>,
    ) -> Result<(), PtxError> {
        into.push(self.variable(space)?);
        self.expect(';')
    }

    pub(super) fn variable(&mut self, space: VariableSpace) -> Result<Variable<'a>, PtxError> {
        let line = self.line();
        let mut align = None;
        let mut lanes = 1u64;
        let mut pointer = false;
        let ty = loop {
            match self.word("a type")? {
                ".align" if pointer => {
                    self.small()?;
                }
                ".align" => align = Some(self.small()?),
                ".ptr" => pointer = true,
                ".global" | ".const" | ".shared" | ".local" if pointer => {}
                ".attribute" => self.skip_past(')')?,
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                word => {
                    let ty = word.strip_prefix('.').and_then(Type::from_suffix);
                    break ty
                        .ok_or_else(|| PtxError::new(line, format!("unknown type `{word}`")))?;
                }
            }
        };
        // `.param .u64 .ptr .global .align 8 name`: what follows the type describes the pointee.
        loop {
            match self.kind() {
                TokenKind::Word(".ptr" | ".global" | ".const" | ".shared" | ".local") => {
                    self.at += 1
                }
                TokenKind::Word(".align") => {
                    self.at += 1;
                    self.small()?;
                }
                _ => break,
            }
        }
        let name = self.word("a name")?;
        let element_bytes = ty.bytes();
        let mut bytes = Some(u64::from(element_bytes) * lanes);
        while self.take('[') {
            let TokenKind::Int(count) = self.kind() else {
                bytes = None;
                self.expect(']')?;
                continue;
            };
            self.at += 1;
            bytes = bytes
                .and_then(|bytes| bytes.checked_mul(count))
                .filter(|bytes| *bytes <= MAX_VARIABLE_BYTES);
            if bytes.is_none() {
                return Err(PtxError::new(
                    line,
                    format!("`{name}` is larger than {MAX_VARIABLE_BYTES} bytes"),
                ));
            }
            self.expect(']')?;
        }
        let init = if self.take('=') {
            self.initialiser()?
        } else {
            Vec::new()
        };
        if bytes.is_none() && !init.is_empty() {
            bytes = Some(u64::from(element_bytes) * init.len() as u64);
        }
        let align = align.unwrap_or(element_bytes * lanes as u32).max(1);
        if !align.is_power_of_two() || align > 1 << 16 {
            return Err(PtxError::new(
                line,
                format!("alignment {align} is not a power of two up to 65536"),
            ));
        }
        Ok(Variable {
            name,
            line,
            space,
            align,
            bytes,
            init,
            element_bytes,
        })
    }

    fn initialiser(&mut self) -> Result<Vec<Initial<'a>>, PtxError> {
        let mut values = Vec::new();
        let mut depth = 0usize;
        loop {
            let negative = self.take('-');
            match self.advance() {
                TokenKind::Mark('{') => depth += 1,
                TokenKind::Mark('}') if depth > 0 => depth -= 1,
                TokenKind::Mark(',') if depth > 0 => continue,
                TokenKind::Int(value) => values.push(Initial::Bits(if negative {
                    value.wrapping_neg()
                } else {
                    value
                })),
                TokenKind::Float32(bits) => values.push(Initial::Bits(u64::from(bits))),
                TokenKind::Float64(bits) => values.push(Initial::Bits(bits)),
                TokenKind::Word("generic") => {
                    self.expect('(')?;
                    values.push(Initial::Address(self.word("a variable")?));
                    self.expect(')')?;
                }
                TokenKind::Word(name) => values.push(Initial::Address(name)),
                _ => {
                    self.at -= 1;
                    return Err(self.error("a value of the initialiser"));
                }
            }
            if depth == 0 {
                return Ok(values);
            }
        }
    }
}
