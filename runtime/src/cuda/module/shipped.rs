//! Kernels that the program carries compiled, and which of them a device can run.

use std::collections::BTreeSet;

use himuon_templates::CompiledKernel;

use super::image::Image;

/// What the program handed over, in that order.
#[derive(Clone, Debug, Default)]
pub(in crate::cuda) struct Shipped(Vec<&'static CompiledKernel>);

/// What something was compiled for: `sm_86` is 8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    major: u32,
    minor: u32,
    /// With a suffix, as in `sm_90a`: nothing but this device runs it.
    is_specific: bool,
}

impl Target {
    /// Reads `sm_86` or `sm_90a`; `None` for what has another form.
    fn of(name: &str) -> Option<Target> {
        let number = name.strip_prefix("sm_")?;
        let digits = number.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        let value: u32 = digits.parse().ok()?;
        Some(Target {
            major: value / 10,
            minor: value % 10,
            is_specific: digits.len() < number.len(),
        })
    }

    /// Whether machine code of this target runs on `device`: the same major version, no higher minor one.
    fn has_code_for(self, device: Target) -> bool {
        !self.is_specific && self.major == device.major && self.minor <= device.minor
    }

    /// Whether the driver makes machine code for `device` from PTX of this target.
    fn has_ptx_for(self, device: Target) -> bool {
        !self.is_specific && (self.major, self.minor) <= (device.major, device.minor)
    }
}

impl Shipped {
    pub(in crate::cuda) fn add(&mut self, kernels: &'static [CompiledKernel]) {
        self.0.extend(kernels);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What there is of the kernel `id` that a device of `target` may run, the best first: machine code of exactly this
    /// target, then of lower minor versions, then PTX, of exactly this target or the highest below it.
    pub(super) fn images(&self, id: &str, text: &str, target: &str) -> Vec<Image> {
        let Some(device) = Target::of(target) else {
            return Vec::new();
        };
        let mut found: Vec<(bool, Target, &CompiledKernel)> = self
            .of(id)
            .filter(|kernel| is_of(kernel, text))
            .filter_map(|kernel| {
                let compiled_for = Target::of(kernel.target)?;
                Some((kernel.target == target, compiled_for, kernel))
            })
            .collect();
        found.sort_by_key(|(is_exact, compiled_for, _)| {
            (!is_exact, std::cmp::Reverse(*compiled_for))
        });
        let cubins = found.iter().filter_map(|(is_exact, of, kernel)| {
            let cubin = kernel.cubin?;
            (*is_exact || of.has_code_for(device)).then(|| Image::Cubin(cubin.to_vec()))
        });
        let ptx = found.iter().filter_map(|(is_exact, of, kernel)| {
            let ptx = kernel.ptx?;
            (*is_exact || of.has_ptx_for(device)).then(|| Image::Ptx(ptx.to_owned()))
        });
        cubins.chain(ptx).collect()
    }

    /// For an error: what there is of `id`, and what it takes to have it for `target`.
    pub(super) fn account(&self, id: &str, target: &str) -> String {
        let targets = |kernels: &mut dyn Iterator<Item = &&'static CompiledKernel>| {
            let names: BTreeSet<_> = kernels.map(|kernel| kernel.target).collect();
            names.into_iter().collect::<Vec<_>>().join(", ")
        };
        let is_compiled = |kernel: &&&'static CompiledKernel| {
            kernel.id == id && (kernel.ptx.is_some() || kernel.cubin.is_some())
        };
        let compiled = targets(&mut self.0.iter().filter(is_compiled));
        if !compiled.is_empty() {
            return format!(
                "it carries this one for {compiled}, which the device or its driver does not take; name {target} in \
                 build.rs or to `himuon emit`, and build with a CUDA compiler no newer than the driver"
            );
        }
        if self.of(id).next().is_some() {
            return "it carries this one as text alone; build the program where there is a CUDA compiler".to_owned();
        }
        format!(
            "none of its {} kernels, for {}, has this identity; name {target} in build.rs, and declare the \
             specification by #[himuon(...)], or both to `himuon emit --complete`, as the stored matrix needs it where the \
             tile is a rectangle",
            self.0.len(),
            targets(&mut self.0.iter())
        )
    }

    fn of(&self, id: &str) -> impl Iterator<Item = &'static CompiledKernel> {
        self.0.iter().copied().filter(move |kernel| kernel.id == id)
    }
}

/// Whether the kernel was made from this text; a digest of 32 bits guards against accidents alone.
fn is_of(kernel: &CompiledKernel, text: &str) -> bool {
    if kernel.text == text {
        return true;
    }
    tracing::warn!(
        "kernel {}: the program carries another text of this name; it is not used",
        kernel.id
    );
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One kernel for these targets, whose machine code and PTX hold their target's name.
    fn shipped(cubins: &[&'static str], ptx: &[&'static str]) -> Shipped {
        let kernel = |target: &'static str| CompiledKernel {
            id: "k",
            specification: "",
            target,
            text: "text",
            manifest: "",
            ptx: None,
            cubin: None,
        };
        let with_code = cubins.iter().map(|target| CompiledKernel {
            cubin: Some(target.as_bytes()),
            ..kernel(target)
        });
        let with_ptx = ptx.iter().map(|target| CompiledKernel {
            ptx: Some(target),
            ..kernel(target)
        });
        let mut shipped = Shipped::default();
        shipped.add(Vec::leak(with_code.chain(with_ptx).collect()));
        shipped
    }

    fn chosen(shipped: &Shipped, device: &str) -> Vec<String> {
        let images = shipped.images("k", "text", device).into_iter();
        images
            .map(|image| match image {
                Image::Cubin(bytes) => format!("code {}", String::from_utf8_lossy(&bytes)),
                Image::Ptx(text) => format!("ptx {text}"),
            })
            .collect()
    }

    #[test]
    fn code_of_the_device_then_of_lower_minor_versions_then_ptx() {
        let all = ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120"];
        let shipped = shipped(&all, &all);
        assert_eq!(
            chosen(&shipped, "sm_86"),
            ["code sm_86", "code sm_80", "ptx sm_86", "ptx sm_80"]
        );
        assert_eq!(
            chosen(&shipped, "sm_121"),
            [
                "code sm_120",
                "ptx sm_120",
                "ptx sm_89",
                "ptx sm_86",
                "ptx sm_80"
            ]
        );
    }

    #[test]
    fn what_was_compiled_for_one_device_runs_on_no_other() {
        let shipped = shipped(&["sm_90a", "sm_100a"], &["sm_80", "sm_90a", "sm_100a"]);
        assert_eq!(
            chosen(&shipped, "sm_90a"),
            ["code sm_90a", "ptx sm_90a", "ptx sm_80"]
        );
        assert_eq!(chosen(&shipped, "sm_103"), ["ptx sm_80"]);
        assert_eq!(
            chosen(&shipped, "sm_100a"),
            ["code sm_100a", "ptx sm_100a", "ptx sm_80"]
        );
    }

    #[test]
    fn nothing_newer_than_the_device_and_no_other_text() {
        let shipped = shipped(&["sm_89", "sm_75"], &["sm_89"]);
        assert_eq!(chosen(&shipped, "sm_86"), [""; 0]);
        assert!(shipped.images("k", "another text", "sm_89").is_empty());
        assert!(shipped.images("other", "text", "sm_89").is_empty());
    }

    #[test]
    fn an_account_says_what_there_is_and_what_to_do() {
        let compiled = shipped(&["sm_120"], &[]);
        let text = compiled.account("k", "sm_80");
        assert!(
            text.contains("for sm_120") && text.contains("name sm_80"),
            "{text}"
        );
        let text = compiled.account("other", "sm_90a");
        assert!(text.contains("none of its 1 kernels, for sm_120"), "{text}");
        assert!(text.contains("name sm_90a in build.rs"), "{text}");
    }
}
