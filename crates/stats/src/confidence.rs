//! Confidence sequences: intervals that hold at all times at once, and tests made from them.

/// How far a sum of centred observations strays from 0 by chance, at any time: two-sided normal mixture
/// (Howard, Ramdas, McAuliffe and Sekhon 2021) with mixing precision `rho`. `variance` is the sum of
/// the observations' variances.
pub fn normal_mixture_bound(variance: f64, rho: f64, alpha: f64) -> f64 {
    ((variance + rho) * (((variance + rho) / rho).ln() - 2.0 * alpha.ln())).sqrt()
}

/// Independent observations of one arm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub count: f64,
    pub mean: f64,
    /// Of one observation.
    pub variance: f64,
}

/// The difference of two means, with the variance of its estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    pub estimate: f64,
    pub variance: f64,
}

impl Difference {
    /// `candidate` less `stable`; `None` when an arm has no spread to tell from.
    pub fn of(candidate: Sample, stable: Sample) -> Option<Self> {
        let variance = candidate.variance / candidate.count + stable.variance / stable.count;
        (variance > 0.0 && variance.is_finite()).then_some(Self { estimate: candidate.mean - stable.mean, variance })
    }

    /// Half the width of the asymptotic confidence sequence, narrowest for differences about as large as `effect`
    /// (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021).
    pub fn half_width(self, effect: f64, alpha: f64) -> f64 {
        self.variance * normal_mixture_bound(1.0 / self.variance, effect.powi(-2), alpha)
    }

    /// ln of the mixture likelihood ratio against "no difference" (mSPRT; Johari, Pekelis and Walsh 2017): the
    /// same thing as a test.
    pub fn ln_mixture_ratio(self, effect: f64) -> f64 {
        let (v, prior) = (self.variance, effect * effect);
        0.5 * (v / (v + prior)).ln() + prior * self.estimate * self.estimate / (2.0 * v * (v + prior))
    }
}

/// How far apart the empirical quantiles lie that enclose the true quantile `p` at all times: it is between those at
/// `p - f` and `p + f` of `count` observations (Howard and Ramdas 2022).
pub fn quantile_width(count: f64, p: f64, alpha: f64) -> f64 {
    let l = (1.4 * (2.1 * count).ln().ln() + (10.0 / alpha).ln()) / count;
    1.5 * (p * (1.0 - p) * l).sqrt() + 0.8 * l
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() < tolerance, "{actual} is not {expected}");
    }

    #[test]
    fn the_normal_mixture_equals_the_published_library() {
        // Its best precision for a variance of 100: confseq, `two_sided_normal_mixture_bound(100, 0.05, 100)`.
        let twice_ln = 2.0 * 20_f64.ln();
        let rho = 100.0 / (twice_ln + twice_ln.ln_1p());
        assert_close(normal_mixture_bound(100.0, rho, 0.05), 30.352_09, 5e-5);
    }

    fn proportion(bad: f64, all: f64) -> Sample {
        let mean = bad / all;
        Sample { count: all, mean, variance: mean * (1.0 - mean) }
    }

    #[test]
    fn the_mixture_ratio_equals_the_reference() {
        // Of proportions, with the variance of both arms together.
        let pooled = proportion(220.0, 20_000.0).variance;
        let [candidate, stable] = [proportion(30.0, 1000.0), proportion(190.0, 19_000.0)];
        let of = |arm: Sample| Sample { variance: pooled, ..arm };
        let difference = Difference::of(of(candidate), of(stable)).unwrap();
        assert_close(difference.ln_mixture_ratio(0.01), 14.532_608, 1e-6);
    }

    #[test]
    fn the_interval_leaves_zero_when_the_test_rejects() {
        for bad in 0..60 {
            let difference = Difference::of(proportion(f64::from(bad) + 1.0, 1000.0), proportion(190.0, 19_000.0));
            let difference = difference.unwrap();
            let rejects = difference.ln_mixture_ratio(0.01) >= 20_f64.ln();
            assert_eq!(difference.estimate.abs() > difference.half_width(0.01, 0.05), rejects, "{bad}");
        }
        assert_eq!(Difference::of(proportion(0.0, 10.0), proportion(0.0, 10.0)), None);
    }

    #[test]
    fn the_width_of_a_quantile_equals_the_reference() {
        for (count, p, expected) in [(1000.0, 0.5, 0.074_212), (1000.0, 0.99, 0.019_989), (10_000.0, 0.99, 0.005_036)] {
            assert_close(quantile_width(count, p, 0.05), expected, 1e-6);
        }
    }
}
