//! What this process has answered, for metrics: how many of which sort, and how long
//! they took. It refuses labels that a client can make up: paths are templates.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::exposition::Exposition;

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

/// By the number of an operation, so that counting looks nothing up.
#[derive(Default)]
struct Answered(Vec<Route>);

#[derive(Clone, Default)]
struct Route {
    path: String,
    /// By method, status, and code of the problem: few of them.
    answers: Vec<(Sort, u64)>,
    /// How many took at most so long, and no less than the bound before; the last: more.
    took: [u64; SECONDS.len() + 1],
    seconds: f64,
}

type Sort = (&'static str, u16, &'static str);

/// One more answer of an operation with this number, 0 where there is none. The method
/// and the problem's code are names of ours.
pub(crate) fn count(number: usize, path: &str, sort: Sort, took: Duration) {
    OWN.with(|own| own.lock().count(number, path, sort, took));
}

/// Tells all of it.
pub(crate) fn tell(text: &mut Exposition) {
    let threads = THREADS.lock().clone();
    tell_of(&threads, text);
}

impl Answered {
    fn count(&mut self, number: usize, path: &str, sort: Sort, took: Duration) {
        if self.0.len() <= number {
            self.0.resize(number + 1, Route::default());
        }
        let route = &mut self.0[number];
        if route.path.is_empty() {
            path.clone_into(&mut route.path);
        }
        route.add(sort, 1);
        let seconds = took.as_secs_f64();
        let bound = SECONDS.iter().position(|bound| seconds <= *bound);
        route.took[bound.unwrap_or(SECONDS.len())] += 1;
        route.seconds += seconds;
    }
}

impl Route {
    fn add(&mut self, sort: Sort, count: u64) {
        let known = self.answers.iter_mut().find(|(known, _)| {
            (known.1, known.2.len()) == (sort.1, sort.2.len()) && *known == sort
        });
        match known {
            Some((_, all)) => *all += count,
            None => self.answers.push((sort, count)),
        }
    }
}

/// Tells all of it, by path.
fn tell_of(threads: &[Arc<Mutex<Answered>>], text: &mut Exposition) {
    let mut routes = BTreeMap::<String, Route>::new();
    for thread in threads {
        for counts in thread.lock().0.iter().filter(|one| !one.path.is_empty()) {
            let all = routes.entry(counts.path.clone()).or_default();
            for (sort, count) in &counts.answers {
                all.add(*sort, *count);
            }
            for (all, count) in all.took.iter_mut().zip(counts.took) {
                *all += count;
            }
            all.seconds += counts.seconds;
        }
    }
    text.family_of(
        "counter",
        "headwater_http_requests_total",
        "Answers by route, status and problem code.",
    );
    for (route, counts) in &mut routes {
        counts.answers.sort_unstable();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_sort_and_by_how_long_they_took() {
        let threads = [Arc::<Mutex<Answered>>::default(), Arc::default()];
        let count = |thread: usize, status, code, milliseconds| {
            let took = Duration::from_millis(milliseconds);
            let sort = ("GET", status, code);
            threads[thread].lock().count(7, "/v1/{id}", sort, took);
        };
        count(0, 200, "", 1);
        count(1, 200, "", 30);
        count(1, 503, "overloaded", 60_000);
        let mut text = Exposition::default();
        tell_of(&threads, &mut text);
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
