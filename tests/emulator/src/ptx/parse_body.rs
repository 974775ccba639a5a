//! Tokens to syntax: kernel bodies.

use super::PtxError;
use super::lexer::TokenKind;
use super::parse::Parser;
use super::syntax::{Guard, Instruction, Operand, RegisterNames, Statement, VariableSpace};
use super::types::Type;

/// Operands nest in vectors and lists only; no instruction needs more.
const MAX_NESTING: usize = 4;

impl<'a> Parser<'a> {
    /// A body in braces; inner scopes are kept as `Open` and `Close`.
    pub(super) fn body(&mut self) -> Result<Vec<Statement<'a>>, PtxError> {
        self.expect('{')?;
        let mut statements = Vec::new();
        let mut depth = 1usize;
        while depth > 0 {
            match self.kind() {
                TokenKind::Mark('{') => {
                    self.advance();
                    depth += 1;
                    statements.push(Statement::Open);
                }
                TokenKind::Mark('}') => {
                    self.advance();
                    depth -= 1;
                    if depth > 0 {
                        statements.push(Statement::Close);
                    }
                }
                TokenKind::Mark(';') => {
                    self.advance();
                }
                TokenKind::Mark('@') => statements.push(self.instruction()?),
                TokenKind::Word(word) if word.starts_with('.') => {
                    self.body_directive(word, &mut statements)?
                }
                TokenKind::Word(word) if self.ahead(1) == TokenKind::Mark(':') => {
                    let line = self.line();
                    self.advance();
                    self.advance();
                    if !self.branch_targets(word, &mut statements)? {
                        statements.push(Statement::Label(word, line));
                    }
                }
                TokenKind::Word(_) => statements.push(self.instruction()?),
                _ => return Err(self.error("a statement or `}`")),
            }
        }
        Ok(statements)
    }

    fn body_directive(
        &mut self,
        word: &'a str,
        statements: &mut Vec<Statement<'a>>,
    ) -> Result<(), PtxError> {
        let line = self.line();
        self.advance();
        let space = match word {
            ".reg" => return self.registers(statements),
            ".loc" => {
                self.skip_location(line);
                return Ok(());
            }
            ".pragma" => return self.skip_past(';'),
            ".shared" => VariableSpace::Shared,
            ".local" => VariableSpace::Local,
            ".param" => VariableSpace::Param,
            ".global" => VariableSpace::Global,
            ".const" => VariableSpace::Const,
            other => {
                return Err(PtxError::new(
                    line,
                    format!("unknown directive `{other}` in a kernel"),
                ));
            }
        };
        let variable = self.variable(space)?;
        self.expect(';')?;
        statements.push(Statement::Variable(variable));
        Ok(())
    }

    /// `.loc file line column` with its options ends with its line; it has no semicolon.
    fn skip_location(&mut self, line: u32) {
        while self.line() == line
            && !matches!(
                self.kind(),
                TokenKind::End | TokenKind::Mark('{' | '}' | ';')
            )
        {
            self.advance();
        }
    }

    fn branch_targets(
        &mut self,
        label: &'a str,
        statements: &mut Vec<Statement<'a>>,
    ) -> Result<bool, PtxError> {
        if !self.take_word(".branchtargets") {
            return Ok(false);
        }
        let mut targets = vec![self.word("a label")?];
        while self.take(',') {
            targets.push(self.word("a label")?);
        }
        self.expect(';')?;
        statements.push(Statement::BranchTargets { label, targets });
        Ok(true)
    }

    fn registers(&mut self, statements: &mut Vec<Statement<'a>>) -> Result<(), PtxError> {
        let line = self.line();
        let word = self.word("a register type")?;
        let ty = word.strip_prefix('.').and_then(Type::from_suffix);
        let ty =
            ty.ok_or_else(|| PtxError::new(line, format!("unknown register type `{word}`")))?;
        let mut names = Vec::new();
        loop {
            let name = self.word("a register name")?;
            let count = if self.take('<') {
                let count = self.int()?;
                self.expect('>')?;
                Some(count)
            } else {
                None
            };
            names.push(RegisterNames { name, count });
            if !self.take(',') {
                break;
            }
        }
        self.expect(';')?;
        statements.push(Statement::Registers { ty, names });
        Ok(())
    }

    fn instruction(&mut self) -> Result<Statement<'a>, PtxError> {
        let guard = if self.take('@') {
            let negated = self.take('!');
            Some(Guard {
                predicate: self.word("a predicate")?,
                negated,
            })
        } else {
            None
        };
        let line = self.line();
        let opcode = self.word("an instruction")?;
        let mut operands = Vec::new();
        while !self.take(';') {
            operands.push(self.operand(0)?);
            if !self.take(',') && self.kind() != TokenKind::Mark(';') {
                return Err(self.error("`,` or `;`"));
            }
        }
        Ok(Statement::Instruction(Instruction {
            line,
            guard,
            opcode,
            operands,
        }))
    }

    fn operand(&mut self, depth: usize) -> Result<Operand<'a>, PtxError> {
        if depth > MAX_NESTING {
            return Err(self.error("an operand that is less deeply nested"));
        }
        let first = self.simple_operand(depth)?;
        if self.take('|') {
            let second = self.simple_operand(depth)?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn simple_operand(&mut self, depth: usize) -> Result<Operand<'a>, PtxError> {
        match self.kind() {
            TokenKind::Mark('{') => Ok(Operand::Vector(self.group('}', depth)?)),
            TokenKind::Mark('(') => Ok(Operand::List(self.group(')', depth)?)),
            TokenKind::Mark('[') => self.address(),
            TokenKind::Mark('!') => {
                self.advance();
                Ok(Operand::Not(self.word("a predicate")?))
            }
            TokenKind::Word(name) => {
                self.advance();
                match self.offset()? {
                    Some(offset) => Ok(Operand::NameOffset(name, offset)),
                    None => Ok(Operand::Name(name)),
                }
            }
            _ => self.literal(),
        }
    }

    fn group(&mut self, close: char, depth: usize) -> Result<Vec<Operand<'a>>, PtxError> {
        self.advance();
        let mut members = Vec::new();
        while !self.take(close) {
            members.push(self.operand(depth + 1)?);
            if !self.take(',') && self.kind() != TokenKind::Mark(close) {
                return Err(self.error(&format!("`,` or `{close}`")));
            }
        }
        Ok(members)
    }

    fn literal(&mut self) -> Result<Operand<'a>, PtxError> {
        let negative = self.take('-');
        let operand = match self.kind() {
            TokenKind::Int(value) => Operand::Int(if negative {
                -i128::from(value)
            } else {
                i128::from(value)
            }),
            TokenKind::Float32(bits) => {
                Operand::Float32(if negative { bits ^ (1 << 31) } else { bits })
            }
            TokenKind::Float64(bits) => {
                Operand::Float64(if negative { bits ^ (1 << 63) } else { bits })
            }
            _ => return Err(self.error("an operand")),
        };
        self.advance();
        Ok(operand)
    }

    /// `+ 16`, `- 16`, or the `+-16` that compilers write.
    fn offset(&mut self) -> Result<Option<i64>, PtxError> {
        let plus = self.take('+');
        let minus = self.take('-');
        if !plus && !minus {
            return Ok(None);
        }
        let value = self.int()? as i64;
        Ok(Some(if minus { value.wrapping_neg() } else { value }))
    }

    fn address(&mut self) -> Result<Operand<'a>, PtxError> {
        self.advance();
        let address = match self.kind() {
            TokenKind::Word(base) => {
                self.advance();
                Operand::Address {
                    base: Some(base),
                    offset: self.offset()?.unwrap_or(0),
                }
            }
            TokenKind::Int(offset) => {
                self.advance();
                Operand::Address {
                    base: None,
                    offset: offset as i64,
                }
            }
            _ => return Err(self.error("an address")),
        };
        self.expect(']')?;
        Ok(address)
    }
}
