//! Durations and shares, which need their unit.

use towpath_yaml::{Field, YamlError};

/// Seconds of `500ms`, `5s`, `10m`, `1h`, `2d` or a sum such as `1h30m`.
pub(super) fn duration(field: Field<'_>) -> Result<f64, YamlError> {
    let Ok(text) = field.as_str() else {
        return Err(field.expected("a duration with a unit").help("write 30s, 10m, 1h or 1h30m"));
    };
    parse_duration(text).ok_or_else(|| field.expected("a duration").help("write 30s, 10m, 1h or 1h30m"))
}

fn parse_duration(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = &rest[..rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())];
        seconds += number
            * match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[unit.len()..];
    }
    // A century is longer than anything waits, and keeps what is computed from it finite.
    (!text.is_empty() && seconds <= 100.0 * 366.0 * 86_400.0).then_some(seconds)
}

/// Bytes of `512MB`, `4GB`, `1.5GiB`.
pub(super) fn bytes(field: Field<'_>) -> Result<u64, YamlError> {
    let parsed = field.as_str().ok().and_then(parse_bytes);
    parsed.ok_or_else(|| field.expected("a size with a unit").help("write 512MB, 4GB or 4GiB"))
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim_start() {
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * unit;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// A share in (0, 1], written in percent: `5%`.
pub(super) fn percent(field: Field<'_>) -> Result<f64, YamlError> {
    let number =
        field.as_str().ok().and_then(|text| text.strip_suffix('%')).and_then(|n| n.trim_end().parse::<f64>().ok());
    match number {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        Some(_) => Err(field.expected("above 0% and at most 100%")),
        None => Err(field.expected("a share in percent").help("write 5% for one in twenty")),
    }
}

/// A quantile in (0, 1), written as `p90` or `p99.9`.
pub(super) fn quantile(field: Field<'_>) -> Result<f64, YamlError> {
    let number = field.as_str().ok().and_then(|text| text.strip_prefix('p')).and_then(|n| n.parse::<f64>().ok());
    match number {
        Some(percent) if percent > 0.0 && percent < 100.0 => Ok(percent / 100.0),
        _ => Err(field.expected("a quantile such as p90 or p99")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("512MB", Some(512_000_000)),
            ("1.5GiB", Some(1_610_612_736)),
            ("4 GB", Some(4_000_000_000)),
            ("4", None),
            ("GB", None),
            ("0MB", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("500ms", Some(0.5)),
            ("1h30m", Some(5400.0)),
            ("2d", Some(172_800.0)),
            ("10", None),
            ("", None),
            ("5 m", None),
        ] {
            assert_eq!(parse_duration(text), seconds, "{text}");
        }
    }
}
