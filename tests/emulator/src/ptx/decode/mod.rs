//! Syntax to the decoded form: names become slots, suffixes become functions, labels become instruction numbers.

mod arithmetic;
mod bulk;
mod compare;
mod control;
mod convert;
mod data;
mod logic;
mod memory;
mod modifiers;
mod operand;
mod symbols;
mod sync;
mod tensor;
mod warp;

use std::collections::HashMap;

pub(crate) use symbols::RegisterInfo;
use symbols::{Place, Scopes, Slots, Symbol};

use self::modifiers::Modifiers;
use super::PtxError;
use super::syntax::{Entry, Instruction, Statement, Variable, VariableSpace};
use super::types::Type;
use crate::counters::InstructionKind;
use crate::isa::{Constant, Inst, Op, Pred, Special};
use crate::lanes::LaneFn;

/// Memory of one thread or block that a kernel may declare.
const MAX_STATIC_BYTES: u64 = 1 << 24;

/// A kernel as decoded, before its control flow is analysed.
#[derive(Debug)]
pub(super) struct DecodedKernel {
    pub code: Vec<Inst>,
    pub constants: Vec<Constant>,
    pub specials: Vec<(Special, u32)>,
    pub registers: Vec<RegisterInfo>,
    pub predicates: Vec<String>,
    pub params: Vec<(String, u32, u32, u32)>,
    pub param_bytes: u32,
    pub shared_bytes: u32,
    pub dynamic_align: u32,
    pub local_bytes: u32,
}

/// A family of instructions decodes what it knows and passes on the rest as `None`.
type Decoded = Result<Option<(Op, InstructionKind)>, PtxError>;

struct Decoder<'a> {
    scopes: Scopes<'a>,
    slots: Slots,
    code: Vec<Inst>,
    module_shared: HashMap<&'a str, &'a Variable<'a>>,
    labels: HashMap<(usize, &'a str), u32>,
    tables: HashMap<(usize, &'a str), Vec<&'a str>>,
    branches: Vec<PendingBranch<'a>>,
    shared_bytes: u64,
    dynamic_align: u32,
    local_bytes: u64,
    line: u32,
    opcode: &'a str,
    guard: Option<(Pred, bool)>,
}

/// A branch whose labels are looked up when all are known.
struct PendingBranch<'a> {
    at: usize,
    scopes: Vec<usize>,
    target: BranchTarget<'a>,
    line: u32,
}

enum BranchTarget<'a> {
    Label(&'a str),
    Table(&'a str),
}

/// Decodes one kernel of a module.
pub(super) fn decode<'a>(
    entry: &'a Entry<'a>,
    variables: &'a [Variable<'a>],
    globals: &HashMap<&'a str, u32>,
) -> Result<DecodedKernel, PtxError> {
    let mut decoder = Decoder::new(variables, globals);
    let (params, param_bytes) = decoder.declare_params(entry)?;
    decoder.scopes.open();
    for statement in &entry.body {
        decoder.statement(statement)?;
    }
    // Running off the end of a body returns.
    decoder.emit(Op::Exit, InstructionKind::Control);
    decoder.resolve_branches()?;
    let Decoder {
        slots,
        code,
        shared_bytes,
        dynamic_align,
        local_bytes,
        ..
    } = decoder;
    let Slots {
        registers,
        predicates,
        constants,
        specials,
        ..
    } = slots;
    Ok(DecodedKernel {
        code,
        constants,
        specials,
        registers,
        predicates,
        params,
        param_bytes,
        shared_bytes: shared_bytes as u32,
        dynamic_align,
        local_bytes: local_bytes as u32,
    })
}

impl<'a> Decoder<'a> {
    fn new(variables: &'a [Variable<'a>], globals: &HashMap<&'a str, u32>) -> Self {
        let mut scopes = Scopes::default();
        scopes.open();
        for (name, index) in globals {
            scopes.declare(name, Symbol::Variable(Place::Global(*index)));
        }
        let shared = variables
            .iter()
            .filter(|variable| variable.space == VariableSpace::Shared);
        Self {
            scopes,
            slots: Slots::default(),
            code: Vec::new(),
            module_shared: shared.map(|variable| (variable.name, variable)).collect(),
            labels: HashMap::new(),
            tables: HashMap::new(),
            branches: Vec::new(),
            shared_bytes: 0,
            dynamic_align: 1,
            local_bytes: 0,
            line: 0,
            opcode: "",
            guard: None,
        }
    }

    fn error(&self, message: impl std::fmt::Display) -> PtxError {
        PtxError::new(self.line, format!("`{}`: {message}", self.opcode))
    }

    fn emit(&mut self, op: Op, kind: InstructionKind) {
        self.code.push(Inst {
            guard: self.guard,
            op,
            line: self.line,
            kind,
        });
    }

    /// Parameters are packed in order, each at a multiple of its alignment.
    #[expect(
        clippy::type_complexity,
        reason = "name, offset, bytes and alignment are named by the caller at once"
    )]
    fn declare_params(
        &mut self,
        entry: &'a Entry<'a>,
    ) -> Result<(Vec<(String, u32, u32, u32)>, u32), PtxError> {
        let mut params = Vec::new();
        let mut end = 0u64;
        for param in &entry.params {
            let bytes = param.bytes.unwrap_or(0);
            let offset = end.next_multiple_of(u64::from(param.align));
            end = offset + bytes;
            if end > MAX_STATIC_BYTES {
                return Err(PtxError::new(
                    param.line,
                    format!("parameter `{}` is too large", param.name),
                ));
            }
            params.push((
                param.name.to_owned(),
                offset as u32,
                bytes as u32,
                param.align,
            ));
            self.scopes
                .declare(param.name, Symbol::Variable(Place::Param(offset)));
        }
        Ok((params, end as u32))
    }

    fn statement(&mut self, statement: &'a Statement<'a>) -> Result<(), PtxError> {
        match statement {
            Statement::Open => self.scopes.open(),
            Statement::Close => self.scopes.close(),
            Statement::Label(name, line) => {
                let scope = self.scopes.chain().last().copied().unwrap_or(0);
                if self
                    .labels
                    .insert((scope, name), self.code.len() as u32)
                    .is_some()
                {
                    return Err(PtxError::new(
                        *line,
                        format!("label `{name}` is there twice"),
                    ));
                }
            }
            Statement::BranchTargets { label, targets } => {
                let scope = self.scopes.chain().last().copied().unwrap_or(0);
                self.tables.insert((scope, label), targets.clone());
            }
            Statement::Registers { ty, names } => {
                for name in names {
                    self.scopes.declare_registers(name.name, *ty, name.count);
                }
            }
            Statement::Variable(variable) => {
                let place = self.lay_out(variable)?;
                self.scopes.declare(variable.name, Symbol::Variable(place));
            }
            Statement::Instruction(instruction) => self.instruction(instruction)?,
        }
        Ok(())
    }

    /// Gives a shared or local variable its place.
    fn lay_out(&mut self, variable: &Variable<'a>) -> Result<Place, PtxError> {
        let align = u64::from(variable.align);
        let total = match variable.space {
            VariableSpace::Shared => &mut self.shared_bytes,
            VariableSpace::Local => &mut self.local_bytes,
            _ => {
                return Err(PtxError::new(
                    variable.line,
                    format!(
                        "`{}`: such a variable cannot be declared in a kernel",
                        variable.name
                    ),
                ));
            }
        };
        let Some(bytes) = variable.bytes else {
            self.dynamic_align = self.dynamic_align.max(variable.align);
            return Ok(Place::DynamicShared);
        };
        let offset = total.next_multiple_of(align);
        if offset + bytes > MAX_STATIC_BYTES {
            return Err(PtxError::new(
                variable.line,
                format!("`{}` is larger than any device allows", variable.name),
            ));
        }
        *total = offset + bytes;
        Ok(if variable.space == VariableSpace::Shared {
            Place::Shared(offset)
        } else {
            Place::Local(offset)
        })
    }

    /// A variable by name. A shared variable of the module takes its place in the kernel at its first use.
    fn place(&mut self, name: &'a str) -> Option<Place> {
        if let Some(place) = self.scopes.variable(name) {
            return Some(place);
        }
        let variable = self.module_shared.get(name).copied()?;
        let place = self.lay_out(variable).ok()?;
        self.module_shared.remove(name);
        self.scopes.declare_outermost(name, Symbol::Variable(place));
        Some(place)
    }

    fn instruction(&mut self, instruction: &'a Instruction<'a>) -> Result<(), PtxError> {
        self.line = instruction.line;
        self.opcode = instruction.opcode;
        self.guard = None;
        if let Some(guard) = &instruction.guard {
            self.guard = Some((self.pred(guard.predicate)?, guard.negated));
        }
        let mut modifiers = Modifiers::new(instruction.opcode);
        let families = [
            Self::arithmetic,
            Self::logic,
            Self::data,
            Self::memory,
            Self::tensor,
            Self::warp,
            Self::sync,
            Self::bulk,
            Self::control,
        ];
        for family in families {
            if let Some((op, kind)) = family(self, &mut modifiers, &instruction.operands)? {
                if let Some(left) = modifiers.left().first() {
                    return Err(self.error(format!("the modifier `.{left}` is not supported here")));
                }
                self.emit(op, kind);
                self.guard = None;
                return Ok(());
            }
        }
        Err(self.error("unknown instruction"))
    }

    /// The op of a lane function whose sources all have one type.
    fn lanes(
        &mut self,
        f: Option<LaneFn>,
        types: (Type, &[Type]),
        operands: &[super::syntax::Operand<'a>],
    ) -> Result<Op, PtxError> {
        let Some(f) = f else {
            return Err(self.error("not supported with these types and modifiers"));
        };
        let (dst_type, src_types) = types;
        self.expect_operands(operands, src_types.len() + 1..=src_types.len() + 1)?;
        let dst = self.dst(&operands[0], dst_type)?;
        let mut src = [self.bits(0); 4];
        for (index, ty) in src_types.iter().enumerate() {
            src[index] = self.src(&operands[index + 1], *ty)?;
        }
        // Functions that share one signature take the first source again where they ignore an argument.
        for index in src_types.len()..f.arity() {
            src[index] = src[0];
        }
        Ok(Op::Lanes { f, dst, src })
    }

    fn resolve_branches(&mut self) -> Result<(), PtxError> {
        for branch in std::mem::take(&mut self.branches) {
            let find = |label: &str| {
                let found = branch
                    .scopes
                    .iter()
                    .rev()
                    .find_map(|scope| self.labels.get(&(*scope, label)).copied());
                found.ok_or_else(|| {
                    PtxError::new(
                        branch.line,
                        format!("label `{label}` is nowhere in the kernel"),
                    )
                })
            };
            let resolved = match branch.target {
                BranchTarget::Label(label) => vec![find(label)?],
                BranchTarget::Table(name) => {
                    let table = branch
                        .scopes
                        .iter()
                        .rev()
                        .find_map(|scope| self.tables.get(&(*scope, name)));
                    let table = table.ok_or_else(|| {
                        PtxError::new(branch.line, format!("no `.branchtargets` named `{name}`"))
                    })?;
                    table
                        .iter()
                        .map(|label| find(label))
                        .collect::<Result<_, _>>()?
                }
            };
            match &mut self.code[branch.at].op {
                Op::Branch { target, .. } => *target = resolved[0],
                Op::BranchTable { targets, .. } => *targets = resolved.into(),
                _ => {}
            }
        }
        Ok(())
    }
}
