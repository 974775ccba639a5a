//! Names in nested scopes, and the slots that they get.

use std::collections::HashMap;

use crate::isa::{Constant, Special, Src};
use crate::ptx::types::Type;

/// Where a variable lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Global(u32),
    Shared(u64),
    DynamicShared,
    Local(u64),
    Param(u64),
}

/// What a name means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Symbol {
    /// A declaration of registers: `%r<5>` has a count, a single name has none.
    Registers {
        declaration: u32,
        ty: Type,
        count: Option<u64>,
    },
    Variable(Place),
}

/// A register of the value file.
#[derive(Debug, Clone)]
pub(crate) struct RegisterInfo {
    pub name: String,
    pub bits: u32,
}

/// Every slot of a kernel.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub registers: Vec<RegisterInfo>,
    pub predicates: Vec<String>,
    pub constants: Vec<Constant>,
    pub specials: Vec<(Special, u32)>,
    used: HashMap<(u32, u64), u32>,
    constant_slots: HashMap<Constant, u32>,
}

impl Slots {
    /// The slot of one register of a declaration, given at its first use.
    pub(super) fn register(&mut self, declaration: u32, index: u64, ty: Type, name: &str) -> u32 {
        let Self {
            used,
            registers,
            predicates,
            ..
        } = self;
        *used.entry((declaration, index)).or_insert_with(|| {
            if ty == Type::Pred {
                predicates.push(name.to_owned());
                return predicates.len() as u32 - 1;
            }
            registers.push(RegisterInfo {
                name: name.to_owned(),
                bits: ty.bits(),
            });
            registers.len() as u32 - 1
        })
    }

    pub(super) fn constant(&mut self, constant: Constant) -> Src {
        let constants = &mut self.constants;
        Src::constant(*self.constant_slots.entry(constant).or_insert_with(|| {
            constants.push(constant);
            constants.len() as u32 - 1
        }))
    }

    pub(super) fn special(&mut self, special: Special, name: &str) -> Src {
        if let Some((_, slot)) = self.specials.iter().find(|(known, _)| *known == special) {
            return Src::register(*slot);
        }
        let slot = self.registers.len() as u32;
        self.registers.push(RegisterInfo {
            name: name.to_owned(),
            bits: 32,
        });
        self.specials.push((special, slot));
        Src::register(slot)
    }
}

/// Nested scopes; the innermost declaration of a name wins.
#[derive(Debug, Default)]
pub(super) struct Scopes<'a> {
    open: Vec<Scope<'a>>,
    next: usize,
    declarations: u32,
}

#[derive(Debug, Default)]
struct Scope<'a> {
    id: usize,
    names: HashMap<&'a str, Symbol>,
}

impl<'a> Scopes<'a> {
    pub(super) fn open(&mut self) {
        self.open.push(Scope {
            id: self.next,
            names: HashMap::new(),
        });
        self.next += 1;
    }

    pub(super) fn close(&mut self) {
        self.open.pop();
    }

    /// Identities of the open scopes, outermost first: where a label may be looked up.
    pub(super) fn chain(&self) -> Vec<usize> {
        self.open.iter().map(|scope| scope.id).collect()
    }

    pub(super) fn declare(&mut self, name: &'a str, symbol: Symbol) {
        if let Some(scope) = self.open.last_mut() {
            scope.names.insert(name, symbol);
        }
    }

    pub(super) fn declare_outermost(&mut self, name: &'a str, symbol: Symbol) {
        if let Some(scope) = self.open.first_mut() {
            scope.names.insert(name, symbol);
        }
    }

    pub(super) fn declare_registers(&mut self, name: &'a str, ty: Type, count: Option<u64>) {
        let declaration = self.declarations;
        self.declarations += 1;
        self.declare(
            name,
            Symbol::Registers {
                declaration,
                ty,
                count,
            },
        );
    }

    fn find(&self, name: &str) -> Option<Symbol> {
        self.open
            .iter()
            .rev()
            .find_map(|scope| scope.names.get(name).copied())
    }

    /// A variable by name.
    pub(super) fn variable(&self, name: &str) -> Option<Place> {
        match self.find(name) {
            Some(Symbol::Variable(place)) => Some(place),
            _ => None,
        }
    }

    /// A register by name: declaration, index in it, and type.
    pub(super) fn register(&self, name: &str) -> Option<(u32, u64, Type)> {
        if let Some(Symbol::Registers {
            declaration,
            ty,
            count: None,
        }) = self.find(name)
        {
            return Some((declaration, 0, ty));
        }
        let stem = name.trim_end_matches(|character: char| character.is_ascii_digit());
        // `%r12` may be register 12 of `%r<20>` or register 2 of `%r1<5>`: the longest stem that is declared wins.
        (stem.len()..name.len()).rev().find_map(|split| {
            let index: u64 = name.get(split..)?.parse().ok()?;
            match self.find(name.get(..split)?) {
                Some(Symbol::Registers {
                    declaration,
                    ty,
                    count: Some(count),
                }) if index < count => Some((declaration, index, ty)),
                _ => None,
            }
        })
    }
}

/// The special register of a name, without those that change while a kernel runs.
pub(super) fn special(name: &str) -> Option<Special> {
    let axis = |axis: &str| match axis {
        "x" => Some(0u8),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    if let Some((register, component)) = name.split_once('.') {
        let axis = axis(component)?;
        return Some(match register {
            "%tid" => Special::Thread(axis),
            "%ntid" => Special::BlockExtent(axis),
            "%ctaid" | "%clusterid" => Special::Block(axis),
            "%nctaid" | "%nclusterid" => Special::GridExtent(axis),
            "%cluster_ctaid" => Special::Zero,
            "%cluster_nctaid" => Special::One,
            _ => return None,
        });
    }
    Some(match name {
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%nwarpid" => Special::Warps,
        "%lanemask_eq" => Special::LaneMaskEq,
        "%lanemask_lt" => Special::LaneMaskLt,
        "%lanemask_le" => Special::LaneMaskLe,
        "%lanemask_gt" => Special::LaneMaskGt,
        "%lanemask_ge" => Special::LaneMaskGe,
        "%smid" | "%gridid" | "%cluster_ctarank" => Special::Zero,
        "%cluster_nctarank" => Special::One,
        "%nsmid" => Special::Multiprocessors,
        "%dynamic_smem_size" => Special::DynamicSharedBytes,
        "%total_smem_size" | "%aggr_smem_size" => Special::TotalSharedBytes,
        _ => return None,
    })
}
