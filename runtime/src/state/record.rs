//! The metadata of a state file: JSON texts whose keys are sorted (fields are declared in that order).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StateError;

/// Where a group's schedule stood when the state was saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduleRecord {
    pub(crate) schedule: String,
    /// None where the schedule asked for what the group does not declare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spec: Option<String>,
}

/// The options of a group, by name, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) pattern: String,
}

/// The kernel that ran a specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KernelRecord {
    pub(crate) id: String,
    pub(crate) variant: Option<String>,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ParameterRecord {
    /// The pattern of its group.
    pub(crate) group: String,
    pub(crate) method: String,
    /// The specification that the probe raised it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) raised: Option<String>,
    pub(crate) shape: Vec<usize>,
    pub(crate) updates: u64,
}

/// Everything beside the tensors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metadata {
    pub(crate) step: u64,
    pub(crate) learning_rate: f64,
    pub(crate) backend: String,
    pub(crate) groups: Vec<GroupRecord>,
    pub(crate) kernels: BTreeMap<String, KernelRecord>,
    pub(crate) parameters: BTreeMap<String, ParameterRecord>,
    pub(crate) schedule: BTreeMap<String, ScheduleRecord>,
}

impl Metadata {
    /// The texts of a file's metadata.
    pub(crate) fn to_texts(&self) -> Result<BTreeMap<String, String>, StateError> {
        fn json<T: Serialize>(value: &T) -> Result<String, StateError> {
            serde_json::to_string(value).map_err(|error| StateError::Describe {
                reason: error.to_string(),
            })
        }
        // The shortest decimal that reads back as the same bits.
        let learning_rate = self.learning_rate.to_string();
        Ok(BTreeMap::from([
            ("himuon.backend".to_owned(), self.backend.clone()),
            ("himuon.groups".to_owned(), json(&self.groups)?),
            ("himuon.kernels".to_owned(), json(&self.kernels)?),
            ("himuon.learning_rate".to_owned(), learning_rate),
            ("himuon.parameters".to_owned(), json(&self.parameters)?),
            ("himuon.schedule".to_owned(), json(&self.schedule)?),
            ("himuon.step".to_owned(), self.step.to_string()),
        ]))
    }

    /// Reads a file's metadata.
    ///
    /// # Errors
    /// The name of the key that is missing or malformed.
    pub(crate) fn from_texts(texts: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |key: &str| {
            let found = texts.get(key).map(String::as_str);
            found.ok_or_else(|| format!("its metadata has no {key}"))
        };
        fn json<'a, T: Deserialize<'a>>(key: &str, text: &'a str) -> Result<T, String> {
            serde_json::from_str(text).map_err(|error| format!("{key}: {error}"))
        }
        fn number<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, String> {
            text.parse()
                .map_err(|_| format!("{key} is {text}, expected a number"))
        }
        let parameters: BTreeMap<String, ParameterRecord> =
            json("himuon.parameters", text("himuon.parameters")?)?;
        for (name, parameter) in &parameters {
            counted(&format!("updates of {name}"), parameter.updates)?;
        }
        Ok(Metadata {
            step: counted("himuon.step", number("himuon.step", text("himuon.step")?)?)?,
            learning_rate: number("himuon.learning_rate", text("himuon.learning_rate")?)?,
            backend: text("himuon.backend")?.to_owned(),
            groups: json("himuon.groups", text("himuon.groups")?)?,
            kernels: json("himuon.kernels", text("himuon.kernels")?)?,
            parameters,
            schedule: json("himuon.schedule", text("himuon.schedule")?)?,
        })
    }
}

/// No run takes so many steps; what is read below this can be counted on.
const MOST_STEPS: u64 = 1 << 62;

/// A number of steps that a run may have taken.
fn counted(key: &str, steps: u64) -> Result<u64, String> {
    match steps <= MOST_STEPS {
        true => Ok(steps),
        false => Err(format!("{key} is {steps}, expected at most {MOST_STEPS}")),
    }
}
