//! The judge on whole rollouts.

use proptest::prelude::*;
use towpath_core::Timestamp;
use towpath_core::project::{
    Better, Inconclusive, JudgePolicy, MetricPolicy, RolloutPolicy, Safe, ShadowPolicy, StepPolicy,
    Strategy as RolloutStrategy, ValueMetric, Variants,
};

use super::*;
use crate::routing;

fn metric(share: f64, required: bool, safe: Safe) -> MetricPolicy {
    MetricPolicy { share, required, safe, over: vec![0.9] }
}

fn judge_policy(alpha: f64) -> JudgePolicy {
    JudgePolicy {
        alpha,
        alpha_advance: 0.05,
        errors: Some(metric(0.5, false, Safe::Ceiling(0.01))),
        latency: Some(metric(0.3, false, Safe::Ratio(2.0))),
        labels: Some(metric(0.2, true, Safe::Margin(0.05))),
        metrics: Vec::new(),
        alone: false,
        min_bad_events: 3,
        shadow: None,
    }
}

fn policy() -> RolloutPolicy {
    RolloutPolicy {
        strategy: RolloutStrategy::Canary,
        steps: vec![0.25, 0.5, 1.0],
        step: StepPolicy { min_seconds: 10.0, min_requests: 50, max_seconds: 600.0, inconclusive: Inconclusive::Hold },
        judge: judge_policy(0.01),
        warm_seconds: 0.0,
        preview_seconds: 0.0,
        key: None,
        variants: None,
    }
}

/// Collects evidence as the data plane does.
struct Traffic {
    evidence: Evidence,
    first_bad: FirstBad,
}

impl Traffic {
    fn new() -> Self {
        Self { evidence: Evidence::new(&judge_policy(0.01)), first_bad: FirstBad::default() }
    }

    fn requests(&mut self, arm: Arm, weight: f64, count: u64, failing: u64) -> &mut Self {
        for i in 0..count {
            let request =
                Observation::Request { arm, weight, key: None, error: i < failing, latency_seconds: Some(0.001) };
            self.evidence.observe(&request, &mut self.first_bad);
        }
        self
    }

    fn labels(&mut self, arm: Arm, weight: f64, count: u64, wrong: u64) -> &mut Self {
        for i in 0..count {
            let label = Observation::Label { arm, weight, key: None, correct: i >= wrong };
            self.evidence.observe(&label, &mut self.first_bad);
        }
        self
    }

    fn decide(&self, step: usize, seconds: i64) -> Verdict {
        let at_step = Evidence::default();
        decide(&policy(), &self.evidence, &at_step, step, Timestamp(0), Timestamp(seconds * 1000))
    }
}

#[test]
fn a_required_metric_without_evidence_holds() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 3000, 0).requests(Arm::Candidate, 0.25, 1000, 0);
    let verdict = traffic.decide(0, 3600);
    assert_eq!(verdict.action, Action::Hold);
    assert_eq!(verdict.text, "Hold at 25 %, inconclusive after 10 min: no evidence on labels of the candidate yet");
}

#[test]
fn a_hold_says_what_it_still_needs() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 120, 0).requests(Arm::Candidate, 0.25, 40, 0);
    traffic.labels(Arm::Stable, 0.25, 120, 4).labels(Arm::Candidate, 0.25, 40, 1);
    let verdict = traffic.decide(0, 4);
    assert_eq!(verdict.action, Action::Hold);
    let labels = verdict.metrics.iter().find(|row| row.name == "labels").unwrap();
    assert_eq!((labels.stable, labels.candidate), (Outcomes { bad: 4, all: 120 }, Outcomes { bad: 1, all: 40 }));
    assert!(verdict.text.starts_with("Hold at 25 %: labels are not shown safe yet ("), "{}", verdict.text);
    assert!(
        verdict.text.ends_with("40 of 50 candidate requests in this step; 6 s more in this step"),
        "{}",
        verdict.text
    );
}

#[test]
fn the_requests_a_hold_foretells_are_enough() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 300, 0).requests(Arm::Candidate, 0.25, 100, 0);
    traffic.labels(Arm::Stable, 0.25, 300, 6).labels(Arm::Candidate, 0.25, 100, 2);
    let text = traffic.decide(0, 60).text;
    let foretold = text.split("about ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let foretold: u64 = foretold.parse().unwrap();
    let quarter = foretold / 4 + 1;
    traffic.labels(Arm::Stable, 0.25, 3 * quarter, 3 * quarter / 50);
    traffic.labels(Arm::Candidate, 0.25, quarter, quarter / 50);
    assert_eq!(traffic.decide(0, 60).action, Action::Advance, "{text} -> {}", traffic.decide(0, 60).text);
}

#[test]
fn a_candidate_as_good_as_stable_advances_and_is_promoted_from_the_last_step_but_one() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 6000, 0).requests(Arm::Candidate, 0.25, 2000, 0);
    traffic.labels(Arm::Stable, 0.25, 6000, 120).labels(Arm::Candidate, 0.25, 2000, 40);
    let verdict = traffic.decide(0, 60);
    assert_eq!(
        (verdict.action, verdict.text.as_str()),
        (Action::Advance, "Advance to 50 %: everything required at 25 % is shown")
    );
    assert_eq!(traffic.decide(1, 60).action, Action::Promote);
}

#[test]
fn a_candidate_with_wrong_labels_is_rolled_back_with_its_numbers() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 90, 0).requests(Arm::Candidate, 0.25, 30, 0);
    traffic.labels(Arm::Stable, 0.25, 90, 3).labels(Arm::Candidate, 0.25, 30, 26);
    let verdict = traffic.decide(0, 60);
    assert_eq!(verdict.action, Action::RollBack);
    assert!(verdict.text.ends_with("26 of 30 wrong against 3 of 90 (labels)"), "{}", verdict.text);
    let abort = abort(&judge_policy(0.01), &traffic.evidence).unwrap();
    assert_eq!((abort.culprits, abort.text), (vec!["labels".to_owned()], verdict.text));
    let labels = verdict.metrics.iter().find(|row| row.name == "labels").unwrap();
    assert_eq!(labels.worse, Worse::Worse);
    let ratio = labels.ratio.unwrap();
    assert!(ratio.low > 1.0 && ratio.estimate > Some(20.0), "{ratio:?}");
}

#[test]
fn an_experiment_never_ends_by_itself_but_for_harm_and_has_p_values() {
    let variants = Variants { stable: "control".into(), candidate: "treatment".into() };
    let policy =
        RolloutPolicy { strategy: RolloutStrategy::Ab, steps: vec![0.5, 1.0], variants: Some(variants), ..policy() };
    let decided = |traffic: &Traffic| {
        decide(&policy, &traffic.evidence, &Evidence::default(), 0, Timestamp(0), Timestamp(9_000_000))
    };
    let p = |verdict: &Verdict| verdict.metrics.iter().find(|row| row.name == "labels").unwrap().p_value.unwrap();
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.5, 4000, 0).requests(Arm::Candidate, 0.5, 4000, 0);
    traffic.labels(Arm::Stable, 0.5, 4000, 80).labels(Arm::Candidate, 0.5, 4000, 80);
    let same = decided(&traffic);
    assert_eq!(same.action, Action::Hold);
    assert_eq!(same.text, "Experiment with 50 % of treatment: 4000 requests, 4000 of control; a person ends it");
    assert!(p(&same) >= 1.0, "{}", p(&same));
    // Better is no harm, and as sure as worse would be.
    traffic.labels(Arm::Stable, 0.5, 4000, 320).labels(Arm::Candidate, 0.5, 4000, 80);
    let better = decided(&traffic);
    assert_eq!(better.action, Action::Hold);
    assert!(p(&better) < 1e-6, "{}", p(&better));
    traffic.requests(Arm::Candidate, 0.5, 200, 200);
    assert_eq!(decided(&traffic).action, Action::RollBack);
    let mut skewed = Traffic::new();
    skewed.requests(Arm::Stable, 0.5, 6000, 0).requests(Arm::Candidate, 0.5, 5000, 0);
    assert!(decided(&skewed).text.ends_with("do not read it: treatment gets 45.5 % of new keys instead of 50 %"));
}

#[test]
fn looking_all_the_time_finds_a_difference_that_is_not_there_at_most_so_often_as_alpha_says() {
    let (experiments, alpha) = (1_000, 0.05);
    let finds = |experiment: u32| {
        let salt = format!("experiment-{experiment}");
        let chance = |what: &str, i: u32| routing::position(&salt, format!("{what} {i}").as_bytes());
        let mut traffic = Traffic::new();
        (0..600).any(|i| {
            let arm = if chance("route", i) < 0.5 { Arm::Candidate } else { Arm::Stable };
            let wrong = u64::from(chance("label", i) < 0.2);
            traffic.labels(arm, 0.5, 1, wrong);
            let rows = || decide(&ab(), &traffic.evidence, &Evidence::default(), 0, Timestamp(0), Timestamp(0)).metrics;
            wrong == 1 && rows().iter().any(|row| row.name == "labels" && row.p_value.unwrap() <= alpha)
        })
    };
    let found = (0..experiments).filter(|experiment| finds(*experiment)).count();
    assert!(found <= 50, "{found} of {experiments}");
    assert!(found > 0, "the test must be able to fail");
}

fn ab() -> RolloutPolicy {
    RolloutPolicy { strategy: RolloutStrategy::Ab, steps: vec![0.5, 1.0], ..policy() }
}

#[test]
fn too_few_bad_events_roll_nothing_back() {
    let mut policy = judge_policy(0.01);
    policy.min_bad_events = 5;
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.05, 90, 0).requests(Arm::Candidate, 0.05, 4, 4);
    assert_eq!(abort(&policy, &traffic.evidence), None);
    traffic.requests(Arm::Candidate, 0.05, 1, 1);
    assert!(abort(&policy, &traffic.evidence).is_some());
}

#[test]
fn an_outage_of_both_arms_is_no_evidence() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 300, 300).requests(Arm::Candidate, 0.25, 100, 100);
    assert_eq!(abort(&judge_policy(0.01), &traffic.evidence), None);
}

#[test]
fn requests_that_do_not_split_as_they_should_hold() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.5, 6000, 0).requests(Arm::Candidate, 0.5, 5000, 0);
    traffic.labels(Arm::Stable, 0.5, 6000, 60).labels(Arm::Candidate, 0.5, 5000, 50);
    let verdict = traffic.decide(1, 60);
    assert_eq!(verdict.action, Action::Hold);
    assert!(verdict.text.contains("the candidate gets 45.5 % of new keys instead of 50 %"), "{}", verdict.text);
}

#[test]
fn after_the_longest_time_the_policy_decides() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 30, 0).requests(Arm::Candidate, 0.25, 10, 0);
    traffic.labels(Arm::Candidate, 0.25, 3, 0);
    for (inconclusive, action) in [
        (Inconclusive::Hold, Action::Hold),
        (Inconclusive::Advance, Action::Advance),
        (Inconclusive::Rollback, Action::RollBack),
    ] {
        let mut policy = policy();
        policy.step.inconclusive = inconclusive;
        let at = |seconds: i64| {
            decide(&policy, &traffic.evidence, &Evidence::default(), 0, Timestamp(0), Timestamp(seconds * 1000)).action
        };
        assert_eq!((at(599), at(600)), (Action::Hold, action));
    }
}

#[test]
fn no_policy_advances_on_a_required_metric_without_evidence() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.25, 30, 0).requests(Arm::Candidate, 0.25, 10, 0);
    let mut policy = policy();
    policy.step.inconclusive = Inconclusive::Advance;
    let late = Timestamp(600_000);
    let verdict = decide(&policy, &traffic.evidence, &Evidence::default(), 0, Timestamp(0), late);
    assert_eq!(verdict.action, Action::Hold);
    assert!(verdict.text.contains("no evidence on labels"), "{}", verdict.text);
}

#[test]
fn arms_that_do_not_get_their_shares_are_not_judged() {
    let mut traffic = Traffic::new();
    traffic.requests(Arm::Stable, 0.5, 6000, 0).requests(Arm::Candidate, 0.5, 5000, 500);
    assert_eq!(traffic.decide(1, 60).action, Action::Hold);
}

#[test]
fn one_unlucky_key_counts_once() {
    let (mut evidence, mut first_bad) = (Evidence::new(&judge_policy(0.01)), FirstBad::default());
    let failure = |key| Observation::Request {
        arm: Arm::Candidate,
        weight: 0.05,
        key: Some(key),
        error: true,
        latency_seconds: None,
    };
    for _ in 0..50 {
        evidence.observe(&failure(7), &mut first_bad);
    }
    let counts = evidence.errors.as_ref().unwrap().total(Arm::Candidate);
    assert_eq!((counts.all, counts.bad, counts.first_bad), (50, 50, 1));
    assert_eq!(abort(&judge_policy(0.01), &evidence), None);
    for key in 0..5 {
        evidence.observe(&failure(key), &mut first_bad);
    }
    for key in 100..200 {
        let fine = Observation::Request {
            arm: Arm::Stable,
            weight: 0.05,
            key: Some(key),
            error: false,
            latency_seconds: None,
        };
        evidence.observe(&fine, &mut first_bad);
    }
    assert!(abort(&judge_policy(0.01), &evidence).is_some());
}

#[test]
fn a_frozen_limit_does_not_move() {
    let mut evidence = Evidence::new(&judge_policy(0.01));
    evidence.freeze_latency([(0.9, 0.010)]);
    evidence.freeze_latency([(0.9, 0.999)]);
    assert!(evidence.latency[0].limit_seconds < 0.011);
    let mut first_bad = FirstBad::default();
    for (arm, seconds) in [(Arm::Candidate, 0.020), (Arm::Stable, 0.005)].repeat(20) {
        let request =
            Observation::Request { arm, weight: 0.5, key: None, error: false, latency_seconds: Some(seconds) };
        evidence.observe(&request, &mut first_bad);
    }
    let abort = abort(&judge_policy(0.01), &evidence).unwrap();
    assert_eq!(abort.culprits, ["latency"]);
    assert!(abort.text.contains("20 of 20 slow against 0 of 20 (latency p90)"), "{}", abort.text);
}

/// Rolls one rollout of a candidate exactly as good as stable, through 5 %, 25 % and 50 %, looking
/// after every event; true when it is rolled back.
fn falsely_rolled_back(rollout: u32, alpha: f64) -> bool {
    let policy = judge_policy(alpha);
    let (mut evidence, mut first_bad) = (Evidence::new(&policy), FirstBad::default());
    evidence.freeze_latency([(0.9, 0.010)]);
    let salt = format!("rollout-{rollout}");
    let chance = |what: &str, i: u32| routing::position(&salt, format!("{what} {i}").as_bytes());
    for i in 0..900 {
        let weight = [0.05, 0.25, 0.5][i as usize / 300];
        let arm = if chance("route", i) < weight { Arm::Candidate } else { Arm::Stable };
        // Errors come in an outage; labels are wrong now and then.
        let error = chance("error", i) < if i / 100 == 4 { 0.2 } else { 0.01 };
        let latency_seconds = Some(if chance("latency", i) < 0.1 { 0.020 } else { 0.005 });
        let before = evidence.incriminating();
        evidence.observe(&Observation::Request { arm, weight, key: None, error, latency_seconds }, &mut first_bad);
        let correct = chance("label", i) > 0.04;
        evidence.observe(&Observation::Label { arm, weight, key: None, correct }, &mut first_bad);
        if evidence.incriminating() > before && abort(&policy, &evidence).is_some() {
            return true;
        }
    }
    false
}

#[test]
fn a_candidate_that_is_not_worse_is_rolled_back_in_at_most_alpha_of_all_rollouts() {
    let (rollouts, alpha) = (2_000, 0.05);
    let rolled_back = (0..rollouts).filter(|rollout| falsely_rolled_back(*rollout, alpha)).count();
    assert!(rolled_back <= 100, "{rolled_back} of {rollouts}");
    assert!(rolled_back > 0, "the test must be able to fail");
}

fn counts() -> impl Strategy<Value = Counts> {
    (0_u64..100_000, 0.0..1.0_f64, 0.0..1.0_f64).prop_map(|(all, bad, first)| {
        let bad = (all as f64 * bad) as u64;
        Counts { all, bad, first_bad: (bad as f64 * first) as u64 }
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    let tally = (0.0..=1.0_f64, counts(), counts());
    let tally = tally.prop_map(|(weight, stable, candidate)| Tally { weight, stable, candidate });
    proptest::collection::vec(tally, 0..4).prop_map(|tallies| Comparison { tallies })
}

proptest! {
    #[test]
    fn any_evidence_gives_the_same_finite_verdict_again_after_storage(
        errors in comparison(), labels in comparison(), latency in comparison(), step in 0_usize..4,
    ) {
        let latency = LatencyComparison { quantile: 0.9, limit_seconds: 0.01, comparison: latency };
        let evidence = Evidence { errors: Some(errors), labels: Some(labels), latency: vec![latency], ..Evidence::default() };
        let verdict = |evidence: &Evidence| {
            decide(&policy(), evidence, &Evidence::default(), step, Timestamp(0), Timestamp(60_000))
        };
        let stored: Evidence = serde_json::from_str(&serde_json::to_string(&evidence).unwrap()).unwrap();
        prop_assert_eq!(&stored, &evidence);
        let first = verdict(&evidence);
        prop_assert_eq!(&first, &verdict(&stored));
        // What is no number would be written as null and could not be read back.
        let text = serde_json::to_string(&first).unwrap();
        prop_assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), first);
    }
}

#[test]
fn nobody_sees_the_candidate_before_its_copies_agree() {
    let shadow = ShadowPolicy { share: 1.0, disagreement: 0.05, tolerance: 0.0 };
    let judge = JudgePolicy { labels: None, shadow: Some(shadow), ..judge_policy(0.01) };
    let policy = RolloutPolicy { steps: vec![0.0, 0.5, 1.0], judge, ..policy() };
    let start = Evidence::new(&policy.judge);
    let mut evidence = start.clone();
    let decided = |evidence: &Evidence| decide(&policy, evidence, &start, 0, Timestamp(0), Timestamp(60_000));
    let hold = decided(&evidence);
    assert_eq!(hold.action, Action::Hold);
    assert!(hold.text.starts_with("Hold at 0 %: answers are not shown to differ in fewer than 5 %"), "{}", hold.text);
    let agreeing = Pair { failed: false, agreed: true, stable_seconds: 0.001, candidate_seconds: 0.001, outputs: None };
    for _ in 0..70 {
        evidence.shadow.as_mut().unwrap().add(&agreeing);
    }
    let go = decided(&evidence);
    assert_eq!(
        (go.action, go.text.as_str()),
        (Action::Advance, "Advance to 50 %: everything required at 0 % is shown")
    );
}

fn shadowing() -> RolloutPolicy {
    let shadow = ShadowPolicy { share: 1.0, disagreement: 0.9, tolerance: 0.0 };
    let judge = JudgePolicy { shadow: Some(shadow), ..judge_policy(0.01) };
    RolloutPolicy { steps: vec![0.0, 0.5, 1.0], judge, ..policy() }
}

#[test]
fn labels_of_copies_take_a_wrong_candidate_back_before_any_user_sees_it() {
    let policy = shadowing();
    let (mut evidence, mut first_bad) = (Evidence::new(&policy.judge), FirstBad::default());
    let mut label = |outcome, key: u64| {
        evidence.observe(&Observation::LabelledPair { key: Some(key), outcome }, &mut first_bad);
        abort(&policy.judge, &evidence)
    };
    for key in 0..100 {
        // One unlucky key counts once, and what both get wrong says nothing.
        assert_eq!(label(PairOutcome::OnlyCandidateWrong, 7), None);
        assert_eq!(label(PairOutcome::BothWrong, key), None);
        assert_eq!(label(PairOutcome::Right, key), None);
    }
    for key in 100..102 {
        label(PairOutcome::OnlyStableWrong, key);
    }
    let found = (200..300).find_map(|key| label(PairOutcome::OnlyCandidateWrong, key).map(|abort| (key, abort)));
    let (key, abort) = found.unwrap();
    assert!((210..260).contains(&key), "{key}");
    assert_eq!(abort.culprits, ["labels"]);
    assert!(abort.text.contains(" wrong against 102 of "), "{}", abort.text);
    let verdict = decide(&policy, &evidence, &Evidence::new(&policy.judge), 0, Timestamp(0), Timestamp(60_000));
    assert_eq!(verdict.action, Action::RollBack);
    let row = verdict.metrics.iter().find(|row| row.name == "labels of copies").unwrap();
    assert!(row.ratio.unwrap().low > 1.0, "{row:?}");
}

#[test]
fn a_required_label_metric_is_shown_safe_by_copies() {
    let policy = shadowing();
    let start = Evidence::new(&policy.judge);
    let (mut evidence, mut first_bad) = (start.clone(), FirstBad::default());
    let agreeing = Pair { failed: false, agreed: true, stable_seconds: 0.001, candidate_seconds: 0.001, outputs: None };
    let decided = |evidence: &Evidence| decide(&policy, evidence, &start, 0, Timestamp(0), Timestamp(60_000));
    for _ in 0..100 {
        evidence.shadow.as_mut().unwrap().add(&agreeing);
    }
    let blind = decided(&evidence).text;
    assert!(blind.contains("no evidence on labels of the candidate yet"), "{blind}");
    let mut label = |evidence: &mut Evidence| {
        evidence.observe(&Observation::LabelledPair { key: None, outcome: PairOutcome::Right }, &mut first_bad);
    };
    (0..20).for_each(|_| label(&mut evidence));
    let text = decided(&evidence).text;
    let more = text.split("about ").nth(1).and_then(|rest| rest.strip_suffix(" more labelled copies")).unwrap();
    (0..more.parse().unwrap()).for_each(|_| label(&mut evidence));
    assert_eq!(decided(&evidence).action, Action::Advance, "{text} -> {}", decided(&evidence).text);
}

#[test]
fn labels_of_copies_of_an_equal_candidate_take_it_back_in_at_most_alpha_of_all_rollouts() {
    let alpha = 0.05;
    let shadow = ShadowPolicy { share: 1.0, disagreement: 0.9, tolerance: 0.0 };
    let only_labels = JudgePolicy { errors: None, latency: None, shadow: Some(shadow), ..judge_policy(alpha) };
    let taken_back = |rollout: u32| {
        let (mut evidence, mut first_bad) = (Evidence::new(&only_labels), FirstBad::default());
        let salt = format!("pairs-{rollout}");
        (0..400).any(|i: u32| {
            let chance = routing::position(&salt, &i.to_le_bytes());
            let outcome = match chance {
                chance if chance < 0.15 => PairOutcome::OnlyCandidateWrong,
                chance if chance < 0.30 => PairOutcome::OnlyStableWrong,
                _ => PairOutcome::Right,
            };
            evidence.observe(&Observation::LabelledPair { key: None, outcome }, &mut first_bad);
            abort(&only_labels, &evidence).is_some()
        })
    };
    let found = (0..2_000).filter(|rollout| taken_back(*rollout)).count();
    assert!(found <= 100, "{found}");
    assert!(found > 0, "the test must be able to fail");
}

fn minutes(bounds: Option<(f64, f64)>) -> JudgePolicy {
    let name = "minutes".to_owned();
    let metric =
        ValueMetric { name, better: Better::Lower, effect: 1.0, bounds, share: 0.2, required: bounds.is_some() };
    JudgePolicy { errors: None, latency: None, labels: None, metrics: vec![metric], ..judge_policy(0.05) }
}

/// Minutes of trips between 0 and 60, those of the candidate longer by `longer`.
fn trips(rollout: u32, trips: u32, weight: f64, longer: f64, mut look: impl FnMut(&Evidence) -> bool) -> Option<u32> {
    let policy = minutes(Some((0.0, 60.0)));
    let (mut evidence, mut first_bad) = (Evidence::new(&policy), FirstBad::default());
    let salt = format!("trips-{rollout}");
    let chance = |what: &str, i: u32| routing::position(&salt, format!("{what} {i}").as_bytes());
    (0..trips).find(|i| {
        let arm = if chance("route", *i) < weight { Arm::Candidate } else { Arm::Stable };
        let usual = 40.0 * chance("minutes", *i).powi(2);
        let value = usual + if arm == Arm::Candidate { longer } else { 0.0 };
        evidence.observe(&Observation::Value { arm, weight, key: None, metric: 0, value }, &mut first_bad);
        look(&evidence)
    })
}

#[test]
fn values_of_an_equal_candidate_take_it_back_in_at_most_alpha_of_all_rollouts() {
    let policy = minutes(Some((0.0, 60.0)));
    for weight in [0.1, 0.5] {
        let found = (0..1_000)
            .filter(|rollout| trips(*rollout, 600, weight, 0.0, |seen| abort(&policy, seen).is_some()).is_some())
            .count();
        assert!(found <= 50, "{found} at {weight}");
        assert!(found > 0, "the test must be able to fail");
    }
}

#[test]
fn a_candidate_with_worse_values_is_taken_back_and_one_that_is_not_is_shown_safe() {
    let judge = minutes(Some((0.0, 60.0)));
    let longest = (0..20)
        .map(|rollout| trips(rollout, 5_000, 0.5, 6.0, |seen| abort(&judge, seen).is_some()).expect("it is found"));
    let longest = longest.max().unwrap();
    assert!(longest < 2_000, "{longest}");
    let policy = RolloutPolicy { judge, ..policy() };
    let start = Evidence::new(&policy.judge);
    let mut last = None;
    let shown = trips(0, 50_000, 0.5, 0.0, |seen| {
        let verdict = decide(&policy, seen, &start, 1, Timestamp(0), Timestamp(60_000));
        let safe = verdict.values[0].safe.unwrap() >= 20.0;
        last = Some(verdict);
        safe
    });
    assert!(shown.is_some_and(|trips| trips < 20_000), "{shown:?}");
    let verdict = last.unwrap();
    assert_eq!((verdict.values[0].difference, verdict.metrics.len()), (None, 0), "{verdict:?}");
    assert!(verdict.text.ends_with("candidate requests in this step"), "{}", verdict.text);
}

#[test]
fn a_key_has_one_value_and_a_value_at_no_weight_says_nothing() {
    let policy = minutes(Some((0.0, 60.0)));
    let (mut evidence, mut first_bad) = (Evidence::new(&policy), FirstBad::default());
    for (weight, key) in [(0.5, Some(7)), (0.5, Some(7)), (0.0, Some(8)), (1.0, None), (0.5, None)] {
        let value = Observation::Value { arm: Arm::Candidate, weight, key, metric: 0, value: 60.0 };
        evidence.observe(&value, &mut first_bad);
    }
    assert_eq!(evidence.values[0].candidate.count, 2);
    assert_eq!(abort(&policy, &evidence), None);
    for _ in 0..40 {
        let value = |arm, value| Observation::Value { arm, weight: 0.5, key: None, metric: 0, value };
        evidence.observe(&value(Arm::Candidate, 60.0), &mut first_bad);
        evidence.observe(&value(Arm::Stable, 10.0), &mut first_bad);
    }
    let abort = abort(&policy, &evidence).unwrap();
    assert!(abort.text.ends_with("a mean of 60.0000 in 42 against 10.0000 in 40 (minutes)"), "{}", abort.text);
}

#[test]
fn an_experiment_reads_values_without_bounds_and_decides_nothing_on_them() {
    let policy = RolloutPolicy { judge: minutes(None), ..ab() };
    let (mut evidence, mut first_bad) = (Evidence::new(&policy.judge), FirstBad::default());
    let decided = |evidence: &Evidence| decide(&policy, evidence, evidence, 0, Timestamp(0), Timestamp(60_000));
    for i in 0..1_000_u32 {
        for (arm, more) in [(Arm::Stable, 0.0), (Arm::Candidate, 2.0)] {
            let value = routing::position("minutes", &i.to_le_bytes()) * 10.0 + more;
            evidence.observe(&Observation::Value { arm, weight: 0.5, key: None, metric: 0, value }, &mut first_bad);
        }
        let row = &decided(&evidence).values[0];
        assert_eq!(row.difference.is_some(), i >= 499, "{i}");
    }
    let verdict = decided(&evidence);
    let row = &verdict.values[0];
    let difference = row.difference.unwrap();
    assert!((difference.estimate - 2.0).abs() < 1e-9 && difference.low > 1.0 && difference.high < 3.0, "{row:?}");
    assert!(row.p_value.unwrap() < 1e-6 && row.evidence.is_none());
    assert_eq!((verdict.action, verdict.combined), (Action::Hold, 1.0));
}

fn blue_green() -> RolloutPolicy {
    let latency = MetricPolicy { required: true, ..metric(0.3, true, Safe::Ratio(2.0)) };
    let judge = JudgePolicy { alone: true, labels: None, latency: Some(latency), ..judge_policy(0.01) };
    RolloutPolicy {
        strategy: RolloutStrategy::BlueGreen,
        steps: vec![0.0, 1.0],
        preview_seconds: 30.0,
        judge,
        ..policy()
    }
}

#[test]
fn blue_green_waits_for_its_preview_switches_and_is_judged_by_what_was_usual() {
    let policy = blue_green();
    let start = Evidence::new(&policy.judge);
    let decided = |evidence: &Evidence, step, seconds: i64| {
        decide(&policy, evidence, &start, step, Timestamp(0), Timestamp(seconds * 1000))
    };
    assert_eq!(decided(&start, 0, 10).text, "Hold at 0 %: 20 s more in this step");
    let switch = decided(&start, 0, 30);
    assert_eq!(
        (switch.action, switch.text.as_str()),
        (Action::Advance, "Switch to 100 %: everything required at 0 % is shown")
    );

    let after = |slow_of_a_hundred: u32, requests: u32| {
        let (mut evidence, mut first_bad) = (start.clone(), FirstBad::default());
        evidence.freeze_latency([(0.9, 0.010)]);
        for i in 0..requests {
            let seconds = if i % 100 < slow_of_a_hundred { 0.020 } else { 0.001 };
            let request = Observation::Request {
                arm: Arm::Candidate,
                weight: 1.0,
                key: None,
                error: false,
                latency_seconds: Some(seconds),
            };
            evidence.observe(&request, &mut first_bad);
        }
        evidence
    };
    let few = decided(&after(5, 60), 1, 60);
    assert_eq!(few.action, Action::Hold);
    assert!(few.text.starts_with("Hold at 100 %: latency is not shown safe yet ("), "{}", few.text);
    let kept = decided(&after(5, 600), 1, 60);
    assert_eq!((kept.action, kept.text.as_str()), (Action::Promote, "Promote: everything required at 100 % is shown"));
    let slow = decided(&after(40, 600), 1, 60);
    assert_eq!(slow.action, Action::RollBack);
    assert!(slow.text.ends_with("240 of 600 slow, at most 20 % may be (latency p90)"), "{}", slow.text);
}
