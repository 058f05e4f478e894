//! E-processes: evidence against a null hypothesis that may be looked at after every event.
//!
//! Each starts at 1 and is, under its null, a non-negative supermartingale, so the probability that
//! it *ever* reaches `1/alpha` is at most `alpha` (Ville's inequality). A process here is a mixture:
//! the mean of likelihood ratios, one for each of a few alternatives. Every ratio's logarithm is
//! linear in counts of events, so a process is computed from counts, in any order.

/// How much worse the candidate may be under the alternatives of [`worse`]: ratios of bad rates.
pub const WORSE: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];

/// Stands for the logarithm of zero: finite, so that it can be scaled.
const LN_ZERO: f64 = -1e12;

/// Bad events of both arms while the candidate had a share of the traffic (inside (0, 1)).
#[derive(Clone, Copy, Debug)]
pub struct Bad {
    pub weight: f64,
    pub stable: f64,
    pub candidate: f64,
}

/// All events of both arms while the candidate had a share of the traffic (inside (0, 1)).
#[derive(Clone, Copy, Debug)]
pub struct Split {
    pub bad: Bad,
    pub good: f64,
}

/// Likelihood ratios, as logarithms, one for each alternative.
pub type LnRatios = Vec<f64>;

/// The logarithm of the mixture with equal priors.
pub fn ln_mean(ratios: &[f64]) -> f64 {
    let max = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max <= LN_ZERO || ratios.is_empty() {
        return LN_ZERO;
    }
    max + (ratios.iter().map(|ln| (ln - max).exp()).sum::<f64>() / ratios.len() as f64).ln()
}

/// Null: the candidate's bad rate is at most `rho` times stable's. Looks at bad events only: given
/// one, its arm is a Bernoulli trial whatever the common rate does over time, so an outage of both
/// arms is no evidence (Waudby-Smith and Ramdas 2023; Shafer 2021).
pub fn worse(bad: &[Bad], rho: f64) -> LnRatios {
    WORSE.iter().map(|r| origin(bad, rho, rho * r)).collect()
}

/// Null: the candidate's bad rate is at least `rho` times stable's; alternatives are the given
/// multiples of stable's rate.
pub fn below_ratio(bad: &[Bad], rho: f64, alternatives: &[f64]) -> LnRatios {
    alternatives.iter().map(|r| origin(bad, rho, *r)).collect()
}

/// The alternatives of "safe by ratio": 1.5, 1, 0.7 and 0.5 when the limit is 2.
pub fn safe_ratio(bad: &[Bad], rho: f64) -> LnRatios {
    below_ratio(bad, rho, &[0.75, 0.5, 0.35, 0.25].map(|share| share * rho))
}

/// The likelihood ratio of "the rates stand as `ratio`" against "they stand as `rho`".
fn origin(bad: &[Bad], rho: f64, ratio: f64) -> f64 {
    bad.iter()
        .map(|Bad { weight, stable, candidate }| {
            let odds_null = weight * rho / (1.0 - weight);
            let odds = weight * ratio / (1.0 - weight);
            let (from_null, from) = (odds_null / (1.0 + odds_null), odds / (1.0 + odds));
            candidate * (from / from_null).ln() + stable * ((1.0 - from) / (1.0 - from_null)).ln()
        })
        .sum()
}

/// Null: the candidate's bad rate is at least `ceiling`.
pub fn safe_ceiling(bad: f64, good: f64, ceiling: f64) -> LnRatios {
    [0.0, 0.1, 0.25, 0.5]
        .iter()
        .map(|share| {
            let rate = share * ceiling;
            let per_bad = if rate > 0.0 { (rate / ceiling).ln() } else { LN_ZERO };
            bad * per_bad + good * ((1.0 - rate) / (1.0 - ceiling)).ln()
        })
        .collect()
}

/// Null: the candidate's bad rate is at most `ceiling`; alternatives are [`WORSE`] times its odds.
pub fn above_ceiling(bad: f64, good: f64, ceiling: f64) -> LnRatios {
    let odds = ceiling / (1.0 - ceiling);
    WORSE
        .iter()
        .map(|ratio| {
            let rate = ratio * odds / (1.0 + ratio * odds);
            bad * (rate / ceiling).ln() + good * ((1.0 - rate) / (1.0 - ceiling)).ln()
        })
        .collect()
}

/// Null: the candidate's bad rate exceeds stable's by at least `margin`. Bets on outcomes weighted
/// by the inverse of the arm's share.
pub fn safe_margin(splits: &[Split], margin: f64) -> LnRatios {
    STAKES
        .iter()
        .map(|stake| {
            splits
                .iter()
                .map(|Split { bad: Bad { weight, stable, candidate }, good }| {
                    let lambda = stake / (1.0 / weight - margin);
                    candidate * (lambda * (margin - 1.0 / weight)).ln_1p()
                        + stable * (lambda * (margin + 1.0 / (1.0 - weight))).ln_1p()
                        + good * (lambda * margin).ln_1p()
                })
                .sum()
        })
        .collect()
}

/// Stakes of bets, as shares of the largest one that cannot lose everything.
pub const STAKES: [f64; 5] = [0.05, 0.1, 0.2, 0.4, 0.8];

/// Rows that both arms answered and whose truth is known.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    pub all: f64,
    /// Both are wrong.
    pub both: f64,
    /// Only stable is.
    pub stable: f64,
    /// Only the candidate is.
    pub candidate: f64,
}

/// Null: where exactly one arm is wrong, it is the candidate at most half of the time (McNemar).
pub fn paired_worse(pairs: Pairs) -> LnRatios {
    let Pairs { stable, candidate, .. } = pairs;
    [0.55, 0.6, 0.7, 0.8, 0.9]
        .iter()
        .map(|q: &f64| candidate * (2.0 * q).ln() + stable * (2.0 * (1.0 - q)).ln())
        .collect()
}

/// Null: the candidate is wrong on at least `margin` more of the rows than stable.
pub fn paired_safe_margin(pairs: Pairs, margin: f64) -> LnRatios {
    let Pairs { all, stable, candidate, .. } = pairs;
    bets(1.0 - margin, &[(candidate, margin - 1.0), (stable, margin + 1.0), (all - stable - candidate, margin)])
}

/// Null: the candidate is wrong on at least `rho` times as many rows as stable.
pub fn paired_safe_ratio(pairs: Pairs, rho: f64) -> LnRatios {
    let Pairs { both, stable, candidate, .. } = pairs;
    bets(1.0, &[(candidate, -1.0), (stable, rho), (both, rho - 1.0)])
}

/// Wealth of bets on a gain that is never expected under the null, by (count, gain). No gain is below `-worst`.
fn bets(worst: f64, outcomes: &[(f64, f64)]) -> LnRatios {
    STAKES
        .iter()
        .map(|stake| outcomes.iter().map(|(count, gain)| count * (stake / worst * gain).ln_1p()).sum())
        .collect()
}

/// Null: each of `candidate + other` independent trials is the candidate's with probability
/// `weight`. Beta(1/2, 1/2)-binomial mixture; returns its logarithm.
pub fn ln_binomial(weight: f64, candidate: f64, other: f64) -> f64 {
    ln_beta(candidate + 0.5, other + 0.5) - ln_beta(0.5, 0.5) - candidate * weight.ln() - other * (-weight).ln_1p()
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Stirling's series after shifting the argument above 10; relative error below 1e-13 for x > 0.
fn ln_gamma(x: f64) -> f64 {
    let (mut z, mut shift) = (x, 0.0);
    while z < 10.0 {
        shift += z.ln();
        z += 1.0;
    }
    let inverse = 1.0 / z;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square * (1.0 / 1188.0)))));
    (z - 0.5) * z.ln() - z + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 2e-9, "{actual} is not {expected}");
    }

    fn bad(weight: f64, candidate: u32, stable: u32) -> Bad {
        Bad { weight, stable: f64::from(stable), candidate: f64::from(candidate) }
    }

    /// Counts the C (candidate) and S (stable) of a sequence of bad events.
    fn sequence(weight: f64, events: &str) -> Bad {
        let count = |arm| events.matches(arm).count() as u32;
        bad(weight, count('C'), count('S'))
    }

    #[test]
    fn worse_equals_the_reference_at_even_weights() {
        for (events, expected) in [("C", 0.407_886_417), ("S", -0.700_446_483), ("CCSCCCSC", 0.773_031_900)] {
            assert_close(ln_mean(&worse(&[sequence(0.5, events)], 1.0)), expected);
        }
        let ten = ln_mean(&worse(&[bad(0.5, 10, 0)], 1.0)).exp();
        assert!((ten - 128.358_509).abs() < 1e-6, "{ten}");
        assert_close(ln_mean(&worse(&[sequence(0.5, "CCSCCCSC")], 1.2)), 0.441_696_115);
    }

    #[test]
    fn worse_equals_the_reference_at_small_weights_and_on_a_ramp() {
        for (events, expected) in [
            ("C", 1.233_065_536),
            ("CC", 2.748_952_239),
            ("CCC", 4.455_938_855),
            ("SSCSSSSSCSSC", 2.108_113_856),
            ("CCCCSSSSSSSSSS", 3.308_602_318),
        ] {
            assert_close(ln_mean(&worse(&[sequence(0.05, events)], 1.0)), expected);
        }
        let ramp = [sequence(0.05, "SCS"), sequence(0.25, "CCS")];
        assert_close(ln_mean(&worse(&ramp, 1.0)), 1.803_276_294);
        // A crash loop: four candidate errors in a row are enough.
        let four = ln_mean(&worse(&[bad(0.05, 4, 0)], 1.0)).exp();
        assert!((four - 527.3).abs() < 0.05, "{four}");
    }

    #[test]
    fn safe_by_ratio_equals_the_reference() {
        for (weight, candidate, stable, expected) in [
            (0.5, 20, 30, 6.715_821_972),
            (0.5, 25, 35, 7.066_020_915),
            (0.05, 3, 57, 0.620_908_922),
            (0.05, 0, 40, 2.349_696_010),
        ] {
            assert_close(ln_mean(&safe_ratio(&[bad(weight, candidate, stable)], 2.0)), expected);
        }
    }

    #[test]
    fn safe_by_ceiling_equals_the_reference() {
        for (bad, all, expected) in [
            (0.0, 298.0, 2.501_119_352),
            (0.0, 354.0, 2.997_271_625),
            (1.0, 600.0, 2.635_575_572),
            (2.0, 1000.0, 4.087_990_992),
        ] {
            assert_close(ln_mean(&safe_ceiling(bad, all - bad, 0.01)), expected);
        }
        let reached = |n: f64| ln_mean(&safe_ceiling(0.0, n, 0.01)).exp() >= 20.0;
        assert!(reached(354.0) && !reached(353.0));
    }

    #[test]
    fn above_a_ceiling_is_a_fair_bet_at_the_ceiling() {
        let wealth = |bad, good| ln_mean(&above_ceiling(bad, good, 0.02)).exp();
        let expected = 0.02 * wealth(1.0, 0.0) + 0.98 * wealth(0.0, 1.0);
        assert!((expected - 1.0).abs() < 1e-12, "{expected}");
        assert!(wealth(20.0, 180.0) > 100.0 && wealth(4.0, 196.0) < 1.0);
    }

    #[test]
    fn safe_by_margin_is_a_fair_bet_when_the_difference_is_the_margin() {
        // One request at weight w: the expected wealth under p_c - p_s = d is exactly 1.
        let (weight, stable_rate, margin) = (0.3, 0.04, 0.02);
        let candidate_rate = stable_rate + margin;
        let wealth = |bad: Bad, good| ln_mean(&safe_margin(&[Split { bad, good }], margin)).exp();
        let p_candidate = weight * candidate_rate;
        let p_stable = (1.0 - weight) * stable_rate;
        let expected = p_candidate * wealth(bad(weight, 1, 0), 0.0)
            + p_stable * wealth(bad(weight, 0, 1), 0.0)
            + (1.0 - p_candidate - p_stable) * wealth(bad(weight, 0, 0), 1.0);
        assert!((expected - 1.0).abs() < 1e-12, "{expected}");
    }

    fn pairs(candidate: u32, stable: u32, both: u32, all: u32) -> Pairs {
        let [candidate, stable, both, all] = [candidate, stable, both, all].map(f64::from);
        Pairs { all, both, stable, candidate }
    }

    #[test]
    fn worse_by_pairs_equals_the_reference() {
        for (candidate, stable, expected) in [
            (10, 0, 4.614_543_776),
            (15, 5, 1.904_403_766),
            (30, 10, 4.164_957_532),
            (60, 40, 0.937_937_701),
            (100, 50, 6.817_921_782),
        ] {
            assert_close(ln_mean(&paired_worse(pairs(candidate, stable, 0, 200))), expected);
        }
    }

    #[test]
    fn safe_by_pairs_is_a_fair_bet_at_the_limit() {
        // One row, wrong in both arms, in one of them or in none; the expected wealth at the limit is 1.
        let expected = |wealth: &dyn Fn(Pairs) -> f64, candidate: f64, stable: f64, both: f64| {
            candidate * wealth(pairs(1, 0, 0, 1))
                + stable * wealth(pairs(0, 1, 0, 1))
                + both * wealth(pairs(0, 0, 1, 1))
                + (1.0 - candidate - stable - both) * wealth(pairs(0, 0, 0, 1))
        };
        let margin = expected(&|pair| ln_mean(&paired_safe_margin(pair, 0.02)).exp(), 0.05, 0.03, 0.1);
        let ratio = expected(&|pair| ln_mean(&paired_safe_ratio(pair, 2.0)).exp(), 0.12, 0.01, 0.1);
        assert!((margin - 1.0).abs() < 1e-12 && (ratio - 1.0).abs() < 1e-12, "{margin} {ratio}");
    }

    #[test]
    fn the_binomial_mixture_equals_the_reference_bounds_of_one_proportion() {
        // At the bound of a one-sided 99 % confidence sequence the process stands at 100.
        for (hits, trials, bound) in [
            (0.0, 1000.0, 0.008_594_39),
            (5.0, 1000.0, 0.000_378_57),
            (5.0, 1000.0, 0.020_144_25),
            (10.0, 1000.0, 0.001_959_94),
            (10.0, 1000.0, 0.028_630_46),
            (50.0, 1000.0, 0.026_770_82),
            (50.0, 1000.0, 0.083_091_93),
            (100.0, 10_000.0, 0.006_272_41),
            (100.0, 10_000.0, 0.014_957_44),
        ] {
            let ln = ln_binomial(bound, hits, trials - hits);
            assert!((ln - 100_f64.ln()).abs() < 1e-3, "{hits}/{trials}: {ln}");
        }
    }
}
