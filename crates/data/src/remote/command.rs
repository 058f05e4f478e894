//! Commands of the configuration that print a secret.

use std::process::Command;

/// What it prints, or why there is nothing.
pub(super) fn output_of(command: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-c", command]).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| "it did not print text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints_is_taken_and_a_failure_tells_why() {
        assert_eq!(output_of("printf '%s' \"a b\"").as_deref(), Ok("a b"));
        assert!(output_of("echo broken >&2; exit 3").unwrap_err().ends_with("broken"));
    }
}
