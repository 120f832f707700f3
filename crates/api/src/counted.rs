//! What this process has answered, for metrics: how many of which sort, and how long
//! they took. It refuses labels that a client can make up: paths are templates.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::metrics::Exposition;

/// Upper bounds of what is counted together, in seconds.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Of each thread that ever answered, gone or not: those that count share no lock, or
/// one that is interrupted while it counts would hold up all others.
static THREADS: Mutex<Vec<Arc<Mutex<Answered>>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: Arc<Mutex<Answered>> = {
        let own = Arc::<Mutex<Answered>>::default();
        THREADS.lock().push(own.clone());
        own
    };
}

/// By route.
#[derive(Default)]
struct Answered(HashMap<String, Route>);

#[derive(Default)]
struct Route {
    /// By method, status, and code of the problem.
    answers: BTreeMap<(&'static str, u16, &'static str), u64>,
    /// How many took at most so long, and no less than the bound before; the last: more.
    took: [u64; SECONDS.len() + 1],
    seconds: f64,
}

/// One more answer. `method` and `code` are names of ours.
pub(crate) fn count(
    route: &str,
    method: &'static str,
    status: u16,
    code: &'static str,
    took: Duration,
) {
    OWN.with(|own| own.lock().count(route, (method, status, code), took));
}

/// Tells all of it.
pub(crate) fn tell(text: &mut Exposition) {
    let threads = THREADS.lock().clone();
    let mut all = Answered::default();
    for thread in threads {
        all.add(&thread.lock());
    }
    all.tell(text);
}

impl Answered {
    fn count(&mut self, route: &str, sort: (&'static str, u16, &'static str), took: Duration) {
        if !self.0.contains_key(route) {
            self.0.insert(route.to_owned(), Route::default());
        }
        let Some(counts) = self.0.get_mut(route) else {
            return;
        };
        *counts.answers.entry(sort).or_default() += 1;
        let seconds = took.as_secs_f64();
        let bound = SECONDS.iter().position(|bound| seconds <= *bound);
        counts.took[bound.unwrap_or(SECONDS.len())] += 1;
        counts.seconds += seconds;
    }

    fn add(&mut self, other: &Self) {
        for (route, counts) in &other.0 {
            let all = self.0.entry(route.clone()).or_default();
            for (sort, count) in &counts.answers {
                *all.answers.entry(*sort).or_default() += count;
            }
            for (all, count) in all.took.iter_mut().zip(counts.took) {
                *all += count;
            }
            all.seconds += counts.seconds;
        }
    }

    fn tell(&self, text: &mut Exposition) {
        let routes: BTreeMap<_, _> = self.0.iter().collect();
        text.family_of(
            "counter",
            "headwater_http_requests_total",
            "Answers by route, status and problem code.",
        );
        for (route, counts) in &routes {
            for ((method, status, code), count) in &counts.answers {
                let status = status.to_string();
                let labels = [
                    ("route", route.as_str()),
                    ("method", method),
                    ("status", &status),
                    ("code", code),
                ];
                text.sample(&labels, *count as f64);
            }
        }
        text.family_of(
            "histogram",
            "headwater_http_request_duration_seconds",
            "From a whole head to the head of its answer.",
        );
        for (route, counts) in &routes {
            let mut sum = 0;
            for (index, count) in counts.took.iter().enumerate() {
                sum += count;
                let bound = SECONDS.get(index);
                let bound = bound.map_or_else(|| "+Inf".to_owned(), f64::to_string);
                text.sample_of("_bucket", &[("route", route), ("le", &bound)], sum as f64);
            }
            text.sample_of("_sum", &[("route", route)], counts.seconds);
            text.sample_of("_count", &[("route", route)], sum as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_sort_and_by_how_long_they_took() {
        let mut answered = Answered::default();
        let mut count = |status, code, milliseconds| {
            let took = Duration::from_millis(milliseconds);
            answered.count("/v1/{id}", ("GET", status, code), took);
        };
        count(200, "", 1);
        count(200, "", 30);
        count(503, "overloaded", 60_000);
        let mut all = Answered::default();
        all.add(&answered);
        let mut text = Exposition::default();
        all.tell(&mut text);
        let text = text.text();
        for line in [
            "headwater_http_requests_total{code=\"\",method=\"GET\",route=\"/v1/{id}\",status=\"200\"} 2",
            "headwater_http_requests_total{code=\"overloaded\",method=\"GET\",route=\"/v1/{id}\",status=\"503\"} 1",
            "headwater_http_request_duration_seconds_bucket{le=\"0.001\",route=\"/v1/{id}\"} 1",
            "headwater_http_request_duration_seconds_bucket{le=\"0.05\",route=\"/v1/{id}\"} 2",
            "headwater_http_request_duration_seconds_bucket{le=\"10\",route=\"/v1/{id}\"} 2",
            "headwater_http_request_duration_seconds_bucket{le=\"+Inf\",route=\"/v1/{id}\"} 3",
            "headwater_http_request_duration_seconds_sum{route=\"/v1/{id}\"} 60.031",
            "headwater_http_request_duration_seconds_count{route=\"/v1/{id}\"} 3",
        ] {
            assert!(text.lines().any(|one| one == line), "no {line}:\n{text}");
        }
    }
}
