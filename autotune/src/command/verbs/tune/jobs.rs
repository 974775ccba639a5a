//! From arguments to jobs.

use super::super::super::console::Console;
use super::super::super::error::CommandError;
use super::Arguments;
use crate::workload::{Matrices, check_room, declared_specs, elements, read_shapes};
use himuon::KernelSpec;
use himuon::templates::{Operand, SpecFields, Tile};
use himuon::tuning::TuneJob;
use std::path::Path;

/// Tiles of the stock grid; the whole matrix comes on top.
const STOCK: [u32; 6] = [16, 32, 64, 96, 128, 256];

/// Bytes of an element that is timed: gradient, momentum, weight, and the numbers that they are made from.
const TIMED_BYTES: usize = 16;

/// One job for each specification.
pub(super) fn jobs(arguments: &Arguments, console: &Console) -> Result<Vec<TuneJob>, CommandError> {
    let specs = specs(arguments, console)?;
    let (matrices, path) = match &arguments.model {
        Some(model) => (read_shapes(model)?, Path::new(model.as_str())),
        None if arguments.shapes.is_empty() => (Matrices::Listed(vec![(768, 768)]), Path::new("")),
        None => (Matrices::Listed(arguments.shapes.clone()), Path::new("")),
    };
    let mut jobs = Vec::with_capacity(specs.len());
    for spec in specs {
        let shapes = matrices.of(&spec, path)?;
        elements(shapes.iter().copied()).map_err(CommandError::Request)?;
        if arguments.measures_cpu() {
            // Of many matrices a part is timed; of one matrix the whole.
            let largest = shapes.iter().map(|(rows, columns)| rows * columns).max();
            check_room(largest.unwrap_or(0), TIMED_BYTES).map_err(CommandError::Request)?;
        }
        jobs.push(TuneJob { spec, shapes });
    }
    Ok(jobs)
}

fn specs(arguments: &Arguments, console: &Console) -> Result<Vec<KernelSpec>, CommandError> {
    let stated = arguments.spec.is_stated();
    if let Some(path) = &arguments.krate {
        if stated {
            return Err(CommandError::Request(
                "--crate and fields of a specification: keep one of them".to_owned(),
            ));
        }
        let declared = declared_specs(path)?;
        for warning in &declared.warnings {
            console.warn(warning);
        }
        for (spec, names) in &declared.specs {
            console.detail(&format!("{}: {spec}", names.join(", ")));
        }
        let mut specs: Vec<KernelSpec> = Vec::new();
        for spec in declared.specs.into_iter().map(|(spec, _)| spec) {
            if !specs.contains(&spec) {
                specs.push(spec);
            }
        }
        return Ok(specs);
    }
    if arguments.stock {
        if stated {
            return Err(CommandError::Request(
                "--stock and fields of a specification: keep one of them".to_owned(),
            ));
        }
        return match arguments.is_for_gpu() {
            true => Ok(himuon_codegen::pipeline::stock_specs()?),
            false => stock(),
        };
    }
    // As it is declared: an optimizer looks for the entry by the text of its specification, operand included, on the CPU too.
    if !stated {
        return Err(CommandError::Request(
            "nothing to tune: state --crate FOLDER (what its #[himuon] attributes declare), --stock, or a specification by --tile or \
             --spec"
                .to_owned(),
        ));
    }
    Ok(vec![arguments.spec.resolve()?])
}

fn stock() -> Result<Vec<KernelSpec>, CommandError> {
    let tiles = STOCK.into_iter().map(Tile::square);
    let spec = |tile| {
        let fields = SpecFields {
            tile: Some(tile),
            operand: Some(Operand::F32),
            ..SpecFields::default()
        };
        Ok(fields.resolve()?)
    };
    tiles.chain([Tile::Full]).map(spec).collect()
}
