//! What the parser makes of the tokens: directives and statements as written, names not yet resolved.

use super::types::Type;

/// A whole module.
#[derive(Debug, Default)]
pub(super) struct ModuleSyntax<'a> {
    pub version: (u32, u32),
    pub target: &'a str,
    pub variables: Vec<Variable<'a>>,
    pub entries: Vec<Entry<'a>>,
}

/// One `.entry`.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub name: &'a str,
    pub line: u32,
    pub params: Vec<Variable<'a>>,
    pub max_threads: Option<[u32; 3]>,
    pub body: Vec<Statement<'a>>,
}

/// A declaration of memory: module variable, `.shared`, `.local` or parameter.
#[derive(Debug, Clone)]
pub(super) struct Variable<'a> {
    pub name: &'a str,
    pub line: u32,
    pub space: VariableSpace,
    pub align: u32,
    /// Size in bytes; `None` for `extern .shared x[]`, whose size the launch gives.
    pub bytes: Option<u64>,
    pub init: Vec<Initial<'a>>,
    pub element_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VariableSpace {
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// One element of an initialiser.
#[derive(Debug, Clone, Copy)]
pub(super) enum Initial<'a> {
    Bits(u64),
    /// Address of another variable; `generic(x)` in the text.
    Address(&'a str),
}

/// One statement of a body.
#[derive(Debug)]
pub(super) enum Statement<'a> {
    Label(&'a str, u32),
    Registers {
        ty: Type,
        names: Vec<RegisterNames<'a>>,
    },
    Variable(Variable<'a>),
    BranchTargets {
        label: &'a str,
        targets: Vec<&'a str>,
    },
    Instruction(Instruction<'a>),
    Open,
    Close,
}

/// `%r<5>` (with a count) or a single name.
#[derive(Debug, Clone, Copy)]
pub(super) struct RegisterNames<'a> {
    pub name: &'a str,
    pub count: Option<u64>,
}

/// An instruction as written.
#[derive(Debug)]
pub(super) struct Instruction<'a> {
    pub line: u32,
    pub guard: Option<Guard<'a>>,
    pub opcode: &'a str,
    pub operands: Vec<Operand<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Guard<'a> {
    pub predicate: &'a str,
    pub negated: bool,
}

/// An operand as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand<'a> {
    Name(&'a str),
    /// `name + offset` outside brackets.
    NameOffset(&'a str, i64),
    /// `!p`
    Not(&'a str),
    Int(i128),
    Float32(u32),
    Float64(u64),
    Vector(Vec<Operand<'a>>),
    /// `a | b`
    Pair(Box<Operand<'a>>, Box<Operand<'a>>),
    /// `[base + offset]`; no base for an absolute address.
    Address {
        base: Option<&'a str>,
        offset: i64,
    },
    /// A parenthesised list, as `call` has.
    List(Vec<Operand<'a>>),
}
