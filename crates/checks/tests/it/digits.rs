//! Weekly batches of handwritten digits: ordinary weeks pass, a scanner that inverts intensities
//! is found out by the batch's own means and by nothing else.

use std::fmt::Write as _;

use towpath_checks::{Baseline, Batch, BatchProfile, Suite, Verdict, evaluate, profile_csv};

const SUITE: &str = "\
format: csv
batch: file
rows: {per_batch: {min: 50, max: 500}}
columns:
  pixel_*: {type: integer, not_null: true, between: [0, 16]}
  label: {type: integer, in_set: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
batch_statistics:
  - {columns: pixel_*, statistic: mean, tolerance: {sd: 5, absolute: 1}}
";

struct Week {
    name: String,
    hash: String,
    profile: BatchProfile,
}

fn suite() -> Suite {
    Suite::read("checks/images.yaml", SUITE).expect("the suite is valid")
}

/// Batches of `size` images in the order of the data set; the one at `faulty` is inverted.
fn weeks(size: usize, faulty: Option<usize>) -> Vec<Week> {
    let images: Vec<&str> = include_str!("../../testdata/digits.txt").lines().filter(|l| !l.starts_with('#')).collect();
    let suite = suite();
    images
        .chunks_exact(size)
        .enumerate()
        .map(|(at, images)| {
            let header: Vec<String> = (0..64).map(|i| format!("pixel_{i}")).collect();
            let mut csv = format!("{},label\n", header.join(","));
            for image in images {
                let (pixels, label) = image.split_at(64);
                for pixel in pixels.bytes().map(|b| b - b'a') {
                    let _ = write!(csv, "{},", if faulty == Some(at) { 16 - pixel } else { pixel });
                }
                csv.push_str(label);
                csv.push('\n');
            }
            let name = format!("week-{:02}.csv", at + 1);
            Week {
                hash: format!("hash of {name}"),
                profile: profile_csv(csv.as_bytes(), &suite).expect("the batch is in memory"),
                name,
            }
        })
        .collect()
}

fn batches(weeks: &[Week]) -> Vec<Batch<'_>> {
    weeks.iter().map(|w| Batch { name: &w.name, hash: &w.hash, profile: &w.profile }).collect()
}

fn passed(verdict: &Verdict) -> bool {
    assert_eq!(verdict.passed, verdict.failures.is_empty());
    verdict.passed
}

#[test]
fn ordinary_weeks_pass_one_after_the_other() {
    for size in [64, 100, 150] {
        let weeks = weeks(size, None);
        let all = batches(&weeks);
        let mut baseline = Baseline::frozen_from(&all[..3]);
        for count in 4..=all.len() {
            let verdict = evaluate(&suite(), &all[..count], Some(&baseline));
            assert!(passed(&verdict), "{size} {count}: {:?}", verdict.failures);
            baseline = baseline.extended(&all[..count]);
        }
    }
}

#[test]
fn an_inverted_batch_is_named_with_columns_and_numbers() {
    let weeks = weeks(100, Some(8));
    let all = batches(&weeks);
    let baseline = Baseline::frozen_from(&all[..8]);
    let verdict = evaluate(&suite(), &all[..9], Some(&baseline));
    assert!(!passed(&verdict));
    assert!(verdict.failed >= 30, "{}", verdict.failed);
    let worst = &verdict.failures[0];
    assert_eq!((worst.batch.as_deref(), worst.expectation.as_str()), (Some("week-09.csv"), "mean_near_baseline"));
    assert!(worst.observed.unwrap() > worst.high.unwrap());
    assert_eq!(worst.message, "mean of pixel_0 is 16, allowed -1 to 1 (batch week-09.csv)");
}

#[test]
fn without_a_baseline_each_batch_is_compared_with_the_others() {
    let ordinary = weeks(100, None);
    let first = batches(&ordinary);
    assert!(passed(&evaluate(&suite(), &first[..8], None)));

    let faulty = weeks(100, Some(2));
    let verdict = evaluate(&suite(), &batches(&faulty)[..8], None);
    assert!(!passed(&verdict));
    assert!(verdict.failures.iter().all(|f| f.batch.as_deref() == Some("week-03.csv")), "{:?}", verdict.failures);
}

#[test]
fn too_few_batches_are_not_compared_and_the_verdict_says_so() {
    let weeks = weeks(100, None);
    let verdict = evaluate(&suite(), &batches(&weeks)[..2], None);
    assert!(passed(&verdict));
    assert_eq!(verdict.notes[0], "no baseline yet for week-01.csv: 1 other batches, needed 3");
}

#[test]
fn a_batch_in_the_baseline_is_not_compared_again() {
    let weeks = weeks(100, Some(5));
    let all = batches(&weeks);
    let baseline = Baseline::frozen_from(&all[..6]);
    assert!(passed(&evaluate(&suite(), &all[..6], Some(&baseline))));
    assert_eq!(baseline.extended(&all[..6]), baseline);
}

#[test]
fn wrong_columns_rows_and_values_are_named() {
    let suite = Suite::read(
        "s.yaml",
        "format: csv\nrows: {per_batch: {min: 2}}\ncolumns:\n  x: {type: number, not_null: true, between: [0, 10]}\n  y: {}\n",
    )
    .unwrap();
    let profile = profile_csv("x,z\n12,1\n".as_bytes(), &suite).unwrap();
    let verdict = evaluate(&suite, &[Batch { name: "a.csv", hash: "h", profile: &profile }], None);
    let messages: Vec<&str> = verdict.failures.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "there is no column y (batch a.csv)",
            "column z is not in the suite (batch a.csv)",
            "1 rows, allowed at least 2 (batch a.csv)",
            "1 values of x are outside 0 to 10, as far as 12, first '12' in line 2 (batch a.csv)",
        ]
    );
    assert_eq!(verdict.failed, 4);
}
