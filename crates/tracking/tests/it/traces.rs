use serde_json::json;
use towpath_core::Timestamp;
use towpath_store::Store;
use towpath_tracking::search::Query;
use towpath_tracking::traces::assessments::{self, Assessment};
use towpath_tracking::traces::spans::{self, Span};
use towpath_tracking::traces::{self, Doomed};

use crate::write;

fn span(trace: &str, id: &str, parent: Option<&str>) -> Span {
    Span {
        trace_id: trace.into(),
        span_id: id.into(),
        parent_id: parent.map(str::to_owned),
        name: format!("step {id}"),
        kind: "LLM".into(),
        status: "OK".into(),
        started: 5_000_000,
        ended: 9_000_000,
        content: json!({"name": id}),
    }
}

async fn a_trace_begins_with_any_of_its_spans_and_ends_with_its_root(store: Store) {
    write(&store, |tx| {
        traces::log_spans(tx, 0, None, &[span("tr-1", "b", Some("a"))])?;
        assert_eq!(traces::get(tx, "tr-1")?.state, "IN_PROGRESS");
        traces::log_spans(tx, 0, None, &[span("tr-1", "a", None), span("tr-2", "c", None)])?;
        let trace = traces::get(tx, "tr-1")?;
        assert_eq!((trace.state.as_str(), trace.duration, trace.request_time), ("OK", Some(4), Timestamp(5)));
        assert_eq!(trace.tags[traces::NAME], "step a");
        assert_eq!(spans::of(tx, &[trace])?[0].len(), 2);

        let feedback = json!({"feedback": {"value": true}}).as_object().cloned().unwrap_or_default();
        let said = Assessment { name: "good".into(), valid: true, content: feedback, ..Assessment::default() };
        assessments::create(tx, "tr-2", &said)?;
        for (filter, expected) in
            [("feedback.good = 'true'", 1), ("span.name = 'step a'", 1), ("status = 'OK'", 2), ("name LIKE 'none%'", 0)]
        {
            let query = Query { filter: filter.into(), limit: 10, ..Query::default() };
            assert_eq!(traces::search::search(tx, &[0], &query)?.total, expected, "{filter}");
        }
        assert_eq!(traces::delete(tx, 0, &Doomed::Named(vec!["tr-2".into(), "tr-9".into()]))?, 1);
        assert_eq!(traces::delete(tx, 0, &Doomed::Until(Timestamp(5), None))?, 1);
        assert!(traces::get(tx, "tr-1").is_err());
        Ok(())
    })
    .await
    .unwrap();
}

crate::on_both_databases!(a_trace_begins_with_any_of_its_spans_and_ends_with_its_root);
