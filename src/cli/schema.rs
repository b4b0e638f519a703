//! `pacegate schema`: the JSON Schema of the policy file, for editors and other tools.

use super::CliError;
use super::output::print;
use pacegate_engine::model::policy;

pub(super) fn schema() -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(&policy::schema())
        .map_err(|e| CliError::Input(format!("the schema can't be written: {e}")))?;
    print(&text);
    Ok(())
}
