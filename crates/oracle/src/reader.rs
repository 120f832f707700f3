//! Asks the API, page by page to the end of each list, and compares item by item. It
//! refuses to know what a feature answers.

use serde_json::Value;
use uuid::Uuid;

use crate::{
    Unreachable,
    findings::Findings,
    http::Http,
    json::difference,
    looks::{Look, Viewer},
    shown::Shown,
};

pub const BATCH_IDS_MAX: usize = 100;
/// Pages beyond one for each row that is expected, at most.
const PAGES_MAX: usize = 1_000;
/// A list is read in about so many pages; a short one in one a row.
const PAGES_WANTED: usize = 30;

pub struct Reader<'a> {
    pub shown: &'a Shown<'a>,
    pub findings: Findings,
    http: Http,
}

impl<'a> Reader<'a> {
    pub fn new(http: Http, shown: &'a Shown<'a>) -> Self {
        Self {
            shown,
            findings: Findings::default(),
            http,
        }
    }

    pub fn look(&mut self, look: &Look) -> Result<(), Unreachable> {
        for feature in self.shown.world.features() {
            feature.ask(self, &look.viewer, &look.about)?;
        }
        Ok(())
    }

    /// A list of posts, read page by page.
    pub fn post_pages(
        &mut self,
        path: &str,
        expected: &[Uuid],
        viewer: &Viewer,
    ) -> Result<(), Unreachable> {
        self.post_pages_of(limit_for(expected.len()), path, expected, viewer)
    }

    pub fn post_pages_of(
        &mut self,
        limit: usize,
        path: &str,
        expected: &[Uuid],
        viewer: &Viewer,
    ) -> Result<(), Unreachable> {
        let pages = self.pages_of(limit, path, expected.len(), viewer)?;
        let items: Vec<Value> = pages.iter().flat_map(items_of).collect();
        self.same_posts(path, expected, &items, viewer);
        Ok(())
    }

    /// A list of accounts, read page by page.
    pub fn account_pages(
        &mut self,
        path: &str,
        expected: &[Uuid],
        viewer: &Viewer,
    ) -> Result<(), Unreachable> {
        let pages = self.pages(path, expected, viewer)?;
        let items: Vec<Value> = pages.iter().flat_map(items_of).collect();
        self.same_accounts(path, expected, &items, viewer);
        Ok(())
    }

    /// A list of anything with an id, read page by page.
    pub fn item_pages(
        &mut self,
        path: &str,
        expected: &[Value],
        viewer: &Viewer,
    ) -> Result<(), Unreachable> {
        let pages = self.pages_of(limit_for(expected.len()), path, expected.len(), viewer)?;
        let items: Vec<Value> = pages.iter().flat_map(items_of).collect();
        let what = format!("{path} as {}", viewer.name());
        let ids = expected.iter().filter_map(|item| item["id"].as_str());
        let ids: Vec<Uuid> = ids.filter_map(|id| id.parse().ok()).collect();
        if self.same_ids(&what, &ids, &items) {
            for (expected, found) in expected.iter().zip(&items) {
                self.same_item(&what, expected, found);
            }
        }
        Ok(())
    }

    pub fn pages(
        &mut self,
        path: &str,
        expected: &[Uuid],
        viewer: &Viewer,
    ) -> Result<Vec<Value>, Unreachable> {
        self.pages_of(limit_for(expected.len()), path, expected.len(), viewer)
    }

    /// Every page, which links to the next; back from the last one there is the same. One is
    /// short where much is hidden.
    fn pages_of(
        &mut self,
        limit: usize,
        path: &str,
        expected: usize,
        viewer: &Viewer,
    ) -> Result<Vec<Value>, Unreachable> {
        let join = if path.contains('?') { '&' } else { '?' };
        let first = format!("{path}{join}limit={limit}");
        let what = format!("{first} as {}", viewer.name());
        let mut next = first.clone();
        let (mut pages, mut rows) = (Vec::new(), 0);
        loop {
            let answer = self.http.get(&next, viewer.token())?;
            self.findings.count("answers", 1);
            self.findings.same(&what, &200, &answer.status);
            let cursor = answer.body["next_cursor"].as_str().map(str::to_owned);
            let list = rows_of(&answer.body).len();
            rows += list;
            pages.push(answer.body);
            let Some(cursor) = cursor else {
                self.same_back(path, &pages, viewer)?;
                return Ok(pages);
            };
            if list > limit {
                let violation = format!("{what}: a page has {list} rows");
                self.findings.violation(violation);
            }
            let links = answer.headers.get("link").cloned().unwrap_or_default();
            let link = links.split(", ").next().unwrap_or_default();
            next = format!("{first}&cursor={cursor}");
            let wanted = format!("<{next}>; rel=\"next\"");
            self.findings
                .same(format_args!("the link of {what}"), &wanted.as_str(), &link);
            if rows > expected + limit || pages.len() > expected + PAGES_MAX {
                let violation = format!("{what}: expected {expected} rows, there is no end");
                self.findings.violation(violation);
                return Ok(pages);
            }
        }
    }

    /// What the last page has before it is what the others have.
    fn same_back(
        &mut self,
        path: &str,
        pages: &[Value],
        viewer: &Viewer,
    ) -> Result<(), Unreachable> {
        let Some((last, before)) = pages.split_last() else {
            return Ok(());
        };
        let before: Vec<&Value> = before.iter().flat_map(rows_of).collect();
        let join = if path.contains('?') { '&' } else { '?' };
        let mut cursor = last["prev_cursor"].clone();
        let mut found: Vec<Value> = Vec::new();
        for _ in 0..before.len() + PAGES_MAX {
            if found.len() >= before.len() {
                break;
            }
            let sent = cursor.as_str().unwrap_or_default();
            let page = format!("{path}{join}limit={BATCH_IDS_MAX}&cursor={sent}");
            let page = self.http.get(&page, viewer.token())?.body;
            self.findings.count("answers", 1);
            let further = page["prev_cursor"].clone();
            if rows_of(&page).is_empty() && further == cursor {
                break;
            }
            drop(found.splice(0..0, rows_of(&page).iter().cloned()));
            cursor = further;
        }
        let found: Vec<&Value> = found.iter().collect();
        let what = format!("{path} back from its end as {}", viewer.name());
        self.findings.same(what, &before, &found);
        Ok(())
    }

    /// The status of an answer, whatever it says.
    pub fn status(&mut self, path: &str, wanted: u16, viewer: &Viewer) -> Result<(), Unreachable> {
        self.answer(path, wanted, viewer).map(|_| ())
    }

    /// What is answered with 200.
    pub fn body(&mut self, path: &str, viewer: &Viewer) -> Result<Value, Unreachable> {
        self.answer(path, 200, viewer)
    }

    pub fn items(&mut self, path: &str, viewer: &Viewer) -> Result<Vec<Value>, Unreachable> {
        Ok(items_of(&self.body(path, viewer)?))
    }

    fn answer(&mut self, path: &str, wanted: u16, viewer: &Viewer) -> Result<Value, Unreachable> {
        let answer = self.http.get(path, viewer.token())?;
        self.findings.count("answers", 1);
        let what = format_args!("{path} as {}", viewer.name());
        self.findings.same(what, &wanted, &answer.status);
        Ok(answer.body)
    }

    pub fn same_posts(&mut self, path: &str, expected: &[Uuid], found: &[Value], viewer: &Viewer) {
        let what = format!("{} as {}", short(path), viewer.name());
        if self.same_ids(&what, expected, found) {
            for (id, found) in expected.iter().zip(found) {
                self.same_item(&what, &self.shown.post(*id, viewer.id()), found);
            }
        }
    }

    pub fn same_accounts(
        &mut self,
        path: &str,
        expected: &[Uuid],
        found: &[Value],
        viewer: &Viewer,
    ) {
        let what = format!("{} as {}", short(path), viewer.name());
        if self.same_ids(&what, expected, found) {
            for (id, found) in expected.iter().zip(found) {
                self.same_item(&what, &self.shown.account(*id, viewer.id()), found);
            }
        }
    }

    /// In the same order, none more, none less, none twice.
    fn same_ids(&mut self, what: &str, expected: &[Uuid], found: &[Value]) -> bool {
        let found: Vec<Option<Uuid>> = found
            .iter()
            .map(|item| item["id"].as_str().and_then(|id| id.parse().ok()))
            .collect();
        let expected: Vec<Option<Uuid>> = expected.iter().copied().map(Some).collect();
        if expected == found {
            return true;
        }
        let at = (0..)
            .find(|at| expected.get(*at) != found.get(*at))
            .unwrap_or(0);
        let of = |all: &[Option<Uuid>]| match all.get(at).copied() {
            Some(Some(id)) => id.to_string(),
            Some(None) => "no id".into(),
            None => "the end".into(),
        };
        let (lengths, wanted, there) = (
            format!("{} rows, found {}", expected.len(), found.len()),
            of(&expected),
            of(&found),
        );
        self.findings.violation(format!(
            "{what}: expected {lengths}; row {at}: expected {wanted}, found {there}"
        ));
        false
    }

    pub fn same_item(&mut self, what: &str, expected: &Value, found: &Value) {
        if let Some(difference) = difference(expected, found) {
            let id = &found["id"];
            self.findings
                .violation(format!("{}, {id}{difference}", short(what)));
        }
    }
}

/// What a page has of its list.
fn rows_of(page: &Value) -> &[Value] {
    let rows = page.get("descendants").or(page.get("items"));
    rows.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn items_of(page: &Value) -> Vec<Value> {
    page["items"].as_array().cloned().unwrap_or_default()
}

pub fn joined(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    ids.join(",")
}

/// Without the ids of a batch.
fn short(path: &str) -> &str {
    path.split("?ids=").next().unwrap_or(path)
}

/// Small, so that there are many pages; not so small that it takes long.
fn limit_for(rows: usize) -> usize {
    (rows / PAGES_WANTED + 1).min(BATCH_IDS_MAX)
}
