//! Instruction counts of machine code, from the listing of `nvdisasm`.

use super::{CompileError, scratch};
use listing::{Function, stem};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

mod listing;
mod path;

/// Instructions of one entry, per warp.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Instructions {
    /// All of them, each once; the padding at the end is not counted.
    pub total: u32,
    /// By kind: `tensor`, `shared_load` (matrix loads too), `shared_store`, `global_load`, `global_store`, `local`
    /// (spills), `atomic`, `barrier`, `exchange` (shuffles and votes), `convert`, `float`, `control`, `other`
    /// (addresses, moves, logic).
    pub by_kind: BTreeMap<&'static str, u32>,
    /// Those of the main loop: the body of one step of the recurrence, where there is a recurrence.
    pub loop_total: u32,
    /// Those of the main loop by kind.
    pub loop_by_kind: BTreeMap<&'static str, u32>,
    /// Those on the longest way through the entry outside of the main loop.
    pub outside: u32,
    /// The same for a whole, aligned tile: no code that accesses global memory number by number.
    pub outside_whole_tile: u32,
}

impl Instructions {
    /// What a warp issues at most when the main loop runs `turns` times.
    pub fn issued(&self, turns: u32) -> u32 {
        self.outside + turns * self.loop_total
    }

    /// Instructions of a kind, those of the main loop `turns` times and all others once.
    pub fn of_kind(&self, kind: &str, turns: u32) -> u32 {
        let of = |kinds: &BTreeMap<&'static str, u32>| kinds.get(kind).copied().unwrap_or(0);
        of(&self.by_kind) - of(&self.loop_by_kind) + turns * of(&self.loop_by_kind)
    }

    /// The same for a whole, aligned tile.
    pub fn issued_whole_tile(&self, turns: u32) -> u32 {
        self.outside_whole_tile + turns * self.loop_total
    }
}

/// The counts of each entry of a cubin, by name.
pub(super) fn count(
    nvdisasm: &Path,
    cubin: &[u8],
) -> Result<BTreeMap<String, Instructions>, CompileError> {
    let failed = |message: String| CompileError::Tool {
        tool: nvdisasm.to_owned(),
        message,
    };
    scratch::within("nvdisasm", |folder| {
        let path = folder.join("kernel.cubin");
        std::fs::write(&path, cubin)
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        let output = Command::new(nvdisasm)
            .arg(&path)
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(counts(&String::from_utf8_lossy(&output.stdout)))
    })
    .map_err(|error| failed(error.to_string()))?
}

fn counts(text: &str) -> BTreeMap<String, Instructions> {
    listing::functions(text)
        .into_iter()
        .map(|(name, function)| (name, instructions(&function)))
        .collect()
}

fn instructions(function: &Function<'_>) -> Instructions {
    let body = function.main_loop();
    let count = |instructions: &[&str]| {
        let mut by_kind = BTreeMap::new();
        for text in instructions {
            *by_kind.entry(kind(text)).or_default() += 1;
        }
        (instructions.len() as u32, by_kind)
    };
    let (total, by_kind) = count(&function.instructions);
    let (loop_total, loop_by_kind) = count(&function.instructions[body.clone()]);
    Instructions {
        total,
        by_kind,
        loop_total,
        loop_by_kind,
        outside: path::longest(function, &body, false),
        outside_whole_tile: path::longest(function, &body, true),
    }
}

fn kind(text: &str) -> &'static str {
    match stem(text) {
        "HMMA" | "IMMA" | "DMMA" | "QMMA" | "HGMMA" | "UTCHMMA" => "tensor",
        "LDSM" | "LDS" => "shared_load",
        "STS" | "STSM" => "shared_store",
        "LDG" | "LD" | "LDGSTS" | "UBLKCP" | "UTMALDG" => "global_load",
        "STG" | "ST" | "UTMASTG" => "global_store",
        "LDL" | "STL" => "local",
        "RED" | "ATOM" | "ATOMG" | "ATOMS" | "REDG" => "atomic",
        "BAR" | "WARPSYNC" | "BSYNC" | "BSSY" | "DEPBAR" | "LDGDEPBAR" | "SYNCS" => "barrier",
        "SHFL" | "VOTE" | "VOTEU" | "REDUX" | "MATCH" => "exchange",
        "F2FP" | "F2F" | "I2F" | "F2I" | "I2FP" | "HADD2" => "convert",
        "FADD" | "FMUL" | "FFMA" | "MUFU" | "FSETP" | "FSEL" | "FMNMX" | "FCHK" | "FADD2"
        | "FMUL2" | "FFMA2" => "float",
        "BRA" | "EXIT" | "CALL" | "RET" | "BRX" | "JMP" => "control",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::counts;

    const LISTING: &str = "\
\t.section\t.nv.info.himuon_map,\"\",@SHT_CUDA_INFO
\t.section\t.text.himuon_map,\"ax\",@progbits
\t.sectioninfo\t@\"SHI_REGISTERS=168\"
himuon_map:
.text.himuon_map:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
        /*0010*/              @!P0 BRA `(.L_x_1) ;
.L_x_0:
        /*0020*/                   LDSM.16.M88.4 R24, [R114] ;
        /*0030*/                   HMMA.16816.F32.BF16 R120, R64, R24, RZ ;
        /*0040*/              @!P1 BRA `(.L_x_0) ;
.L_x_1:
        /*0050*/               @P2 STG.E.64 [R2.64], R4 ;
        /*0060*/                   EXIT ;
.L_x_2:
        /*0070*/                   BRA `(.L_x_2);
        /*0080*/                   NOP;
        /*0090*/                   NOP;
.L_x_3:
\t.section\t.text.himuon_norm,\"ax\",@progbits
        /*0000*/                   EXIT ;
";

    #[test]
    fn a_branch_back_from_afar_is_no_loop() {
        let listing = "\
.section\t.text.k,\"ax\"
.L_x_0:
/*0000*/ IADD3 R0, R0, 0x1, RZ ;
.L_x_1:
/*0010*/ HMMA.16816.F32 R4, R8, R12, R4 ;
/*0020*/ @P0 BRA `(.L_x_1) ;
/*0030*/ EXIT ;
/*0040*/ LDG.E.U16 R2, [R4.64] ;
/*0050*/ BRA `(.L_x_0) ;
";
        let found = &counts(listing)["k"];
        assert_eq!((found.total, found.loop_total), (6, 2));
        assert_eq!(found.of_kind("tensor", 5), 5);
    }

    #[test]
    fn a_whole_tile_takes_the_way_of_wide_accesses() {
        let single = "/*0020*/ @P1 LDG.E.U16 R2, [R4.64] ;\n".repeat(9);
        let listing = format!(
            ".section\t.text.k,\"ax\"\n/*0000*/ ISETP.NE P0, PT, R0, RZ ;\n/*0010*/ @P0 BRA `(.L_x_0) ;\n{single}\
             /*0030*/ BRA `(.L_x_1) ;\n.L_x_0:\n/*0040*/ LDG.E.64 R2, [R4.64] ;\n.L_x_1:\n/*0050*/ EXIT ;\n"
        );
        let found = &counts(&listing)["k"];
        assert_eq!((found.outside, found.outside_whole_tile), (13, 4));
    }

    #[test]
    fn kinds_and_the_main_loop() {
        let found = counts(LISTING);
        assert_eq!(found.len(), 2);
        let map = &found["himuon_map"];
        assert_eq!((map.total, map.loop_total), (8, 3));
        assert_eq!(map.by_kind["tensor"], 1);
        assert_eq!(map.by_kind["global_store"], 1);
        assert_eq!(map.by_kind["control"], 4);
        assert_eq!(map.loop_by_kind["shared_load"], 1);
        // Past the loop: two instructions, the branch taken or not, the store, the end.
        assert_eq!((map.outside, map.issued(5)), (4, 4 + 5 * 3));
        assert_eq!(found["himuon_norm"].loop_total, 0);
    }
}
