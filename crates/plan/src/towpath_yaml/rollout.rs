//! `rollout`: strategy, steps and the judge.

use towpath_core::project::{
    Better, Inconclusive, JudgePolicy, MetricPolicy, RolloutPolicy, RoutingKey, Safe, ShadowPolicy, StepPolicy,
    Strategy, ValueMetric, Variants,
};
use towpath_yaml::{Entry, Field, YamlError};

use super::{bool_or, defaults, positive, units};

pub(super) fn read(field: Field<'_>) -> Result<RolloutPolicy, YamlError> {
    let mut fields = field.fields()?;
    let strategy = fields.optional("strategy").map_or(Ok(Strategy::Canary), strategy)?;
    let steps = match (fields.optional("steps"), strategy) {
        (Some(steps), Strategy::AllAtOnce) => return Err(steps.error("'all_at_once' has no steps")),
        (Some(steps), Strategy::Ab) => return Err(steps.error("'ab' has no steps: 'variants' has the shares")),
        (Some(steps), Strategy::BlueGreen) => return Err(steps.error("'blue_green' has no steps")),
        (None, Strategy::BlueGreen) => vec![0.0, 1.0],
        (None, Strategy::Ab) => Vec::new(),
        (None, Strategy::AllAtOnce) => vec![1.0],
        (Some(given), Strategy::Canary) => steps(given)?,
        (None, Strategy::Canary) => defaults::STEPS.to_vec(),
    };
    let mut policy = RolloutPolicy {
        strategy,
        steps,
        step: fields.optional("step").map_or(Ok(defaults::STEP), step)?,
        judge: fields.optional("judge").map_or_else(|| Ok(defaults::judge()), judge)?,
        warm_seconds: fields.optional("warm").map_or(Ok(defaults::WARM_SECONDS), units::duration)?,
        preview_seconds: match (fields.optional("preview"), strategy) {
            (Some(preview), Strategy::BlueGreen) => units::duration(preview)?,
            (Some(preview), _) => return Err(preview.error("'preview' needs strategy blue_green")),
            (None, _) => 0.0,
        },
        key: fields.optional("key").map(key).transpose()?,
        variants: None,
    };
    match (fields.optional("variants"), strategy) {
        (Some(field), Strategy::Ab) => {
            let (names, share) = variants(field)?;
            policy.variants = Some(names);
            policy.steps = vec![share, 1.0];
        }
        (Some(field), _) => return Err(field.error("'variants' need strategy ab")),
        (None, Strategy::Ab) => {
            return Err(field
                .error("'ab' needs 'variants'")
                .help("name what serves first: variants: {control: 50%, treatment: 50%}"));
        }
        (None, _) => {}
    }
    if let Some(field) = fields.optional("shadow") {
        match strategy {
            Strategy::AllAtOnce => return Err(field.error("'all_at_once' has no copies to compare")),
            Strategy::Ab => {
                return Err(field.error("'ab' has no step before its users: run a canary with copies first"));
            }
            // Before any user sees the candidate.
            Strategy::Canary => policy.steps.insert(0, 0.0),
            Strategy::BlueGreen => {}
        }
        policy.judge.shadow = Some(shadow(field)?);
    }
    if strategy == Strategy::BlueGreen {
        policy.judge.alone = true;
        by_ceilings(field, &policy.judge)?;
    }
    fields.finish()?;
    Ok(policy)
}

fn shadow(field: Field<'_>) -> Result<ShadowPolicy, YamlError> {
    let default = defaults::SHADOW;
    if field.is_null() {
        return Ok(default);
    }
    let mut fields = field.fields()?;
    let policy = ShadowPolicy {
        share: fields.optional("share").map_or(Ok(default.share), units::percent)?,
        disagreement: match fields.optional("disagreement") {
            None => default.disagreement,
            Some(field) => {
                Some(units::percent(field)?).filter(|d| *d < 1.0).ok_or_else(|| field.expected("less than 100%"))?
            }
        },
        tolerance: fields.optional("tolerance").map_or(Ok(default.tolerance), positive)?,
    };
    fields.finish()?;
    Ok(policy)
}

fn strategy(field: Field<'_>) -> Result<Strategy, YamlError> {
    match field.as_str()? {
        "canary" => Ok(Strategy::Canary),
        "all_at_once" => Ok(Strategy::AllAtOnce),
        "shadow" => Err(field.error("shadow is no strategy: write `shadow:` beside it, with canary")),
        "ab" => Ok(Strategy::Ab),
        "blue_green" => Ok(Strategy::BlueGreen),
        _ => Err(field.expected("canary, blue_green, all_at_once or ab")),
    }
}

/// After the switch nothing serves beside the candidate. What is slow is known from before.
fn by_ceilings(field: Field<'_>, judge: &JudgePolicy) -> Result<(), YamlError> {
    let rates = [("errors", &judge.errors), ("labels", &judge.labels)];
    let compared = rates
        .into_iter()
        .find(|(_, metric)| metric.as_ref().is_some_and(|metric| !matches!(metric.safe, Safe::Ceiling(_))));
    let name = compared.map(|(name, _)| name).or(judge.metrics.first().map(|metric| metric.name.as_str()));
    name.map_or(Ok(()), |name| {
        let error =
            field.error(format!("with 'blue_green' nothing serves beside the candidate to compare '{name}' with"));
        Err(error.help("judge it by safe: {ceiling: 5%}, or use a canary"))
    })
}

/// Two names with their shares; the first one is what serves.
fn variants(field: Field<'_>) -> Result<(Variants, f64), YamlError> {
    let mut named = Vec::new();
    for (entry, field) in field.entries()? {
        super::valid_name(field, entry.key_span, &entry.key)?;
        if ["stable", "candidate", "warm"].contains(&entry.key.as_str()) {
            return Err(field.error_at(entry.key_span, format!("'{}' has a meaning of its own", entry.key)));
        }
        named.push((entry.key.clone(), units::percent(field)?));
    }
    match named.as_slice() {
        [(stable, first), (candidate, second)] if (first + second - 1.0).abs() < 1e-9 => {
            Ok((Variants { stable: stable.clone(), candidate: candidate.clone() }, *second))
        }
        _ => Err(field
            .error("'variants' must be two whose shares are 100% together")
            .help("name what serves first: {control: 50%, treatment: 50%}")),
    }
}

/// `header:NAME`, `cookie:NAME` or `field:NAME`.
fn key(field: Field<'_>) -> Result<RoutingKey, YamlError> {
    let what = "header:NAME, cookie:NAME or field:NAME";
    match field.as_str()?.split_once(':') {
        Some(("header", name)) if !name.is_empty() => Ok(RoutingKey::Header(name.to_ascii_lowercase())),
        Some(("cookie", name)) if !name.is_empty() => Ok(RoutingKey::Cookie(name.to_owned())),
        Some(("field", name)) if !name.is_empty() => Ok(RoutingKey::Field(name.to_owned())),
        _ => Err(field.expected(what)),
    }
}

fn steps(field: Field<'_>) -> Result<Vec<f64>, YamlError> {
    let mut steps: Vec<f64> = Vec::new();
    for item in field.items()? {
        let share = units::percent(item)?;
        if steps.last().is_some_and(|last| *last >= share) {
            return Err(item.error("each step must be larger than the one before"));
        }
        steps.push(share);
    }
    if steps.last() == Some(&1.0) {
        return Ok(steps);
    }
    Err(field.error("the last step must be 100%"))
}

fn step(field: Field<'_>) -> Result<StepPolicy, YamlError> {
    let mut fields = field.fields()?;
    let mut policy = defaults::STEP;
    if let Some(time) = fields.optional("min_time") {
        policy.min_seconds = units::duration(time)?;
    }
    if let Some(count) = fields.optional("min_requests") {
        policy.min_requests = count.as_u64()?;
    }
    match fields.optional("max_time") {
        Some(time) => {
            policy.max_seconds = units::duration(time)?;
            if policy.max_seconds < policy.min_seconds {
                return Err(time.error("'max_time' must not be shorter than 'min_time'"));
            }
        }
        None => policy.max_seconds = policy.max_seconds.max(policy.min_seconds),
    }
    if let Some(what) = fields.optional("inconclusive") {
        policy.inconclusive = match what.as_str()? {
            "hold" => Inconclusive::Hold,
            "advance" => Inconclusive::Advance,
            "rollback" => Inconclusive::Rollback,
            _ => return Err(what.expected("hold, advance or rollback")),
        };
    }
    fields.finish()?;
    Ok(policy)
}

fn judge(field: Field<'_>) -> Result<JudgePolicy, YamlError> {
    let mut fields = field.fields()?;
    let mut policy = defaults::judge();
    if let Some(alpha) = fields.optional("alpha") {
        policy.alpha = probability(alpha)?;
    }
    if let Some(alpha) = fields.optional("alpha_advance") {
        policy.alpha_advance = probability(alpha)?;
    }
    if let Some(count) = fields.optional("min_bad_events") {
        policy.min_bad_events = count.as_u64()?;
    }
    let errors = fields.optional("errors").map(|f| metric(f, defaults::errors())).transpose()?;
    let latency = fields.optional("latency").map(|f| metric(f, defaults::latency())).transpose()?;
    let labels = fields.optional("labels").map(|f| metric(f, defaults::labels())).transpose()?;
    if let Some(metrics) = fields.optional("metrics") {
        policy.metrics = metrics
            .entries()?
            .into_iter()
            .map(|(entry, field)| value_metric(entry, field))
            .collect::<Result<_, _>>()?;
    }
    if errors.is_some() || latency.is_some() || labels.is_some() {
        (policy.errors, policy.latency, policy.labels) = (errors, latency, labels);
    }
    fields.finish()?;
    Ok(policy)
}

fn probability(field: Field<'_>) -> Result<f64, YamlError> {
    let number = field.as_f64()?;
    if number > 0.0 && number < 1.0 { Ok(number) } else { Err(field.expected("a probability between 0 and 1")) }
}

/// One metric; only latency, whose default has quantiles, takes `over`.
fn metric(field: Field<'_>, default: MetricPolicy) -> Result<MetricPolicy, YamlError> {
    if field.is_null() {
        return Ok(default);
    }
    let mut fields = field.fields()?;
    let over = if default.over.is_empty() { None } else { fields.optional("over") };
    let policy = MetricPolicy {
        share: fields.optional("share").map_or(Ok(default.share), positive)?,
        required: bool_or(&mut fields, "required", default.required)?,
        safe: fields.optional("safe").map_or(Ok(default.safe), safe)?,
        over: over.map_or(Ok(default.over), quantiles)?,
    };
    fields.finish()?;
    Ok(policy)
}

/// One number that is told of predictions later.
fn value_metric(entry: &Entry, field: Field<'_>) -> Result<ValueMetric, YamlError> {
    super::valid_name(field, entry.key_span, &entry.key)?;
    if ["errors", "latency", "labels", "combined"].contains(&entry.key.as_str()) {
        return Err(field.error_at(entry.key_span, format!("'{}' has a meaning of its own", entry.key)));
    }
    let mut fields = field.fields()?;
    let better = fields.required("better")?;
    let better = match better.as_str()? {
        "higher" => Better::Higher,
        "lower" => Better::Lower,
        _ => return Err(better.expected("higher or lower")),
    };
    let effect = fields.required("effect")?;
    let bounds = fields.optional("bounds").map(bounds).transpose()?;
    let (share, required) = (fields.optional("share"), fields.optional("required"));
    if let (None, Some(unused)) = (bounds, share.or(required)) {
        return Err(unused.error("a metric without 'bounds' decides nothing, it is only shown"));
    }
    let metric = ValueMetric {
        name: entry.key.clone(),
        better,
        effect: positive(effect)?,
        bounds,
        share: match (bounds, share) {
            (None, _) => 0.0,
            (_, None) => defaults::VALUE_SHARE,
            (_, Some(share)) => positive(share)?,
        },
        required: required.map_or(Ok(false), |required| required.as_bool())?,
    };
    fields.finish()?;
    if bounds.is_some_and(|(low, high)| metric.effect >= high - low) {
        return Err(effect.error("'effect' must be smaller than what lies between the bounds"));
    }
    Ok(metric)
}

/// `[lowest, highest]`.
fn bounds(field: Field<'_>) -> Result<(f64, f64), YamlError> {
    let numbers = field.items()?.into_iter().map(|item| item.as_f64()).collect::<Result<Vec<_>, _>>()?;
    match numbers.as_slice() {
        [low, high] if low < high && (high - low).is_finite() => Ok((*low, *high)),
        _ => Err(field.expected("the lowest and the highest value, such as [0, 100]")),
    }
}

fn quantiles(field: Field<'_>) -> Result<Vec<f64>, YamlError> {
    let quantiles = field.items()?.into_iter().map(units::quantile).collect::<Result<Vec<_>, _>>()?;
    if quantiles.is_empty() { Err(field.expected("a list of quantiles such as [p90, p99]")) } else { Ok(quantiles) }
}

/// `{ceiling: 1%}`, `{ratio: 2}` or `{margin: 2%}`.
fn safe(field: Field<'_>) -> Result<Safe, YamlError> {
    let mut fields = field.fields()?;
    let bounds = (fields.optional("ceiling"), fields.optional("ratio"), fields.optional("margin"));
    let safe = match bounds {
        (Some(ceiling), None, None) => Safe::Ceiling(units::percent(ceiling)?),
        (None, Some(ratio), None) => match ratio.as_f64()? {
            number if number > 1.0 => Safe::Ratio(number),
            _ => return Err(ratio.expected("a number above 1")),
        },
        (None, None, Some(margin)) => Safe::Margin(units::percent(margin)?),
        (None, None, None) => {
            fields.finish()?;
            return Err(field.error("'safe' is empty").help("give one of: ceiling: 1%, ratio: 2, margin: 2%"));
        }
        _ => return Err(field.error("'safe' must have exactly one bound").help("give one of: ceiling, ratio, margin")),
    };
    fields.finish()?;
    Ok(safe)
}
