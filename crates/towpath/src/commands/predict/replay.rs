//! Live traffic from a file: requests at a steady rate, each with a key of its own, and their labels
//! a little later.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::endpoint::{Answer, Endpoint};
use super::quantiles::Latencies;
use super::samples::{Samples, is_right};
use crate::config::Context;
use crate::error::Error;
use crate::signals::end_requested;
use crate::ui::{self, Human};

/// Requests in flight; a deployment that is slower gets fewer than the rate.
const MOST_IN_FLIGHT: usize = 512;
/// Labels in one request.
const LABELS: usize = 1000;
/// Labels are sent so often.
const LABEL_PERIOD: Duration = Duration::from_millis(100);
/// For what is in flight at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(35);
/// Different failures that the report lists.
const MOST_ERRORS: usize = 10;

/// How fast and how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Requests a second.
    pub rate: f64,
    pub duration: Duration,
    pub label_delay: Duration,
}

/// What happened.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub requests: u64,
    pub failed: u64,
    /// Predictions whose right answer is known.
    pub labelled: u64,
    pub correct: u64,
    pub accuracy: Option<f64>,
    /// Labels that the deployment took.
    pub labels_accepted: u64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub by_revision: BTreeMap<String, Revision>,
    /// How often which failure.
    pub errors: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize)]
pub struct Revision {
    pub requests: u64,
    pub labelled: u64,
    pub correct: u64,
    pub accuracy: Option<f64>,
}

/// A request that came back.
struct Done {
    sample: usize,
    took: Duration,
    answer: Result<Answer, Error>,
}

/// Plays the samples in turn until the time is over or somebody ends it.
pub async fn play(ctx: &Context, endpoint: &Endpoint, samples: &Samples, pace: Pace) -> Result<Report, Error> {
    let mut traffic = Traffic {
        endpoint,
        samples,
        pace,
        report: Report::default(),
        latencies: Latencies::default(),
        requests: JoinSet::new(),
        due: VecDeque::new(),
        sending: JoinSet::new(),
    };
    let mut waiting = ctx.ui.waiting("Playing live traffic; Ctrl-C ends it");
    let mut tick = interval(Duration::from_secs_f64(1.0 / pace.rate));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut label_tick = interval(LABEL_PERIOD);
    let end = tokio::time::sleep(pace.duration);
    let ended = end_requested();
    tokio::pin!(end, ended);
    let mut next = 0;
    loop {
        tokio::select! {
            () = &mut end => break,
            () = &mut ended => break,
            _ = tick.tick(), if traffic.requests.len() < MOST_IN_FLIGHT => {
                traffic.request(next % samples.all.len());
                next += 1;
            }
            Some(done) = traffic.requests.join_next() => traffic.answered(done.ok()),
            Some(sent) = traffic.sending.join_next() => traffic.labels_sent(sent.ok()),
            _ = label_tick.tick() => traffic.send_due_labels(Instant::now()),
        }
    }
    waiting.now_for("Waiting for the last answers".into());
    Ok(traffic.finish().await)
}

struct Traffic<'a> {
    endpoint: &'a Endpoint,
    samples: &'a Samples,
    pace: Pace,
    report: Report,
    latencies: Latencies,
    requests: JoinSet<Done>,
    /// When to send which label of which prediction; the earliest first.
    due: VecDeque<(Instant, String, Value)>,
    sending: JoinSet<Result<u64, Error>>,
}

impl Traffic<'_> {
    fn request(&mut self, sample: usize) {
        let (endpoint, body) = (self.endpoint.clone(), self.samples.all[sample].body.clone());
        self.report.requests += 1;
        self.requests.spawn(async move {
            let started = Instant::now();
            let answer = endpoint.predict(body).await;
            Done { sample, took: started.elapsed(), answer }
        });
    }

    /// `None`: its task died, which counts as a failure like any other.
    fn answered(&mut self, done: Option<Done>) {
        let Some(Done { sample, took, answer }) = done else {
            return self.failed("the request was lost".into());
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.failed(error.message),
        };
        self.latencies.record(took);
        let revision = self.report.by_revision.entry(answer.revision).or_default();
        revision.requests += 1;
        if let Some(label) = &self.samples.all[sample].label {
            let right = u64::from(is_right(&answer.label, label));
            revision.labelled += 1;
            revision.correct += right;
            self.report.labelled += 1;
            self.report.correct += right;
            self.due.push_back((Instant::now() + self.pace.label_delay, answer.id, label.clone()));
        }
    }

    fn failed(&mut self, message: String) {
        self.report.failed += 1;
        if self.report.errors.len() < MOST_ERRORS || self.report.errors.contains_key(&message) {
            *self.report.errors.entry(message).or_default() += 1;
        }
    }

    fn send_due_labels(&mut self, now: Instant) {
        let ready = self.due.iter().take(LABELS).take_while(|(due, _, _)| *due <= now).count();
        if ready > 0 {
            let labels: Vec<(String, Value)> = self.due.drain(..ready).map(|(_, id, label)| (id, label)).collect();
            let endpoint = self.endpoint.clone();
            self.sending.spawn(async move { endpoint.send_labels(&labels).await });
        }
    }

    fn labels_sent(&mut self, sent: Option<Result<u64, Error>>) {
        match sent {
            Some(Ok(accepted)) => self.report.labels_accepted += accepted,
            Some(Err(error)) => {
                let message = format!("labels: {}", error.message);
                if self.report.errors.len() < MOST_ERRORS || self.report.errors.contains_key(&message) {
                    *self.report.errors.entry(message).or_default() += 1;
                }
            }
            None => {}
        }
    }

    /// Waits for what is in flight, then sends the labels that are left.
    async fn finish(mut self) -> Report {
        let drained = timeout(LAST_ANSWERS, async {
            while let Some(done) = self.requests.join_next().await {
                self.answered(done.ok());
            }
            while !self.due.is_empty() {
                self.send_due_labels(Instant::now() + self.pace.label_delay);
            }
            while let Some(sent) = self.sending.join_next().await {
                self.labels_sent(sent.ok());
            }
        });
        if drained.await.is_err() {
            for _ in 0..self.requests.len() {
                self.failed("no answer in time".into());
            }
        }
        let mut report = self.report;
        report.p50_ms = self.latencies.quantile_ms(0.5);
        report.p99_ms = self.latencies.quantile_ms(0.99);
        report.accuracy = share(report.correct, report.labelled);
        for revision in report.by_revision.values_mut() {
            revision.accuracy = share(revision.correct, revision.labelled);
        }
        report
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Human for Report {
    fn human(&self) -> String {
        let percent = |share: Option<f64>| share.map(|share| format!("{:.1} %", share * 100.0)).unwrap_or_default();
        let ms = |ms: Option<f64>| ms.map(|ms| format!("{ms:.2} ms")).unwrap_or_default();
        let mut text = ui::fields([
            ("requests", self.requests.to_string()),
            ("failed", self.failed.to_string()),
            ("correct", format!("{} of {} labelled  {}", self.correct, self.labelled, percent(self.accuracy))),
            ("latency", format!("p50 {}, p99 {}", ms(self.p50_ms), ms(self.p99_ms))),
        ]);
        text.push('\n');
        let rows = self.by_revision.iter().map(|(name, revision)| {
            [name.clone(), revision.requests.to_string(), revision.labelled.to_string(), percent(revision.accuracy)]
        });
        text.push_str(&ui::table(["REVISION", "REQUESTS", "LABELLED", "CORRECT"], rows));
        for (error, times) in &self.errors {
            let _ = write!(text, "\n{times} times: {error}");
        }
        text
    }
}
