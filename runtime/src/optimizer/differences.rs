//! What a resumed run does otherwise than the saved one.

use super::HiMuon;
use crate::memory::Memory;
use crate::state::{GroupRecord, Metadata};

impl<M: Memory> HiMuon<M> {
    /// Groups, options and memberships that differ from the saved ones.
    pub(super) fn differences(&self, saved: &Metadata) -> Vec<String> {
        let mut differences = Vec::new();
        let present = self.group_records();
        for (index, group) in present.iter().enumerate() {
            match counterpart(&present, index, &saved.groups) {
                Some(old) => differences.extend(options_that_differ(old, group)),
                None => differences.push(format!("group {} is new", group.pattern)),
            }
        }
        for (index, old) in saved.groups.iter().enumerate() {
            if counterpart(&saved.groups, index, &present).is_none() {
                differences.push(format!("group {} is gone", old.pattern));
            }
        }
        for parameter in &self.parameters {
            let old = saved.parameters.get(&parameter.name);
            let group = &self.groups[parameter.group].pattern;
            if let Some(old) = old.filter(|old| old.group != *group) {
                differences.push(format!(
                    "parameter {} was in group {}, is in group {group}",
                    parameter.name, old.group
                ));
            }
        }
        differences
    }
}

/// The group of `others` that has the pattern of `groups[index]`; of several with one pattern the one in the same place
/// among them.
fn counterpart<'a>(
    groups: &[GroupRecord],
    index: usize,
    others: &'a [GroupRecord],
) -> Option<&'a GroupRecord> {
    let pattern = &groups[index].pattern;
    let before = groups[..index].iter().filter(|g| g.pattern == *pattern);
    let mut alike = others.iter().filter(|other| other.pattern == *pattern);
    alike.nth(before.count())
}

fn options_that_differ(old: &GroupRecord, group: &GroupRecord) -> Vec<String> {
    let mut differences = Vec::new();
    for (option, value) in &group.options {
        let before = old.options.get(option).map_or("not set", String::as_str);
        if before != value {
            differences.push(format!(
                "group {}: {option} was {before}, is {value}",
                group.pattern
            ));
        }
    }
    for (option, value) in &old.options {
        if !group.options.contains_key(option) {
            differences.push(format!(
                "group {}: {option} was {value}, is not set",
                group.pattern
            ));
        }
    }
    differences
}
