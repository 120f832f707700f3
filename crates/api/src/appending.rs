//! What the trace of a request is told of its appends: each is a span of its own.

use std::time::SystemTime;

use edge::trace_context::TraceContext;
use eventlog::Receipt;
use kernel::{Span, SpanContext, SpanKind};

use crate::problem::Problem;

/// One command on its way into the log.
#[derive(Clone, Copy)]
pub(crate) struct Appending {
    pub context: SpanContext,
    parent: u64,
    started: SystemTime,
}

impl Appending {
    pub fn begin(request: TraceContext) -> Self {
        Self {
            context: SpanContext {
                trace: request.trace,
                span: rand::random::<u64>().max(1),
            },
            parent: request.span().span,
            started: SystemTime::now(),
        }
    }

    pub fn end(self, receipt: &Result<Receipt, Problem>) -> Span {
        let mut attributes = vec![
            ("messaging.system", "headwater".into()),
            ("messaging.destination.name", "log".into()),
            ("messaging.operation.type", "send".into()),
            ("messaging.operation.name", "append".into()),
        ];
        match receipt {
            Ok(receipt) => {
                if let Some(position) = receipt.position.filter(|_| receipt.appended) {
                    let partition = position.partition.0.to_string();
                    attributes.push(("messaging.destination.partition.id", partition.into()));
                    attributes.push(("headwater.position", position.to_string().into()));
                }
            }
            Err(problem) => attributes.push(("error.type", problem.code().name().into())),
        }
        let refused = receipt.as_ref().err();
        Span {
            context: self.context,
            parent: Some(self.parent),
            kind: SpanKind::Producer,
            name: "append log".into(),
            started: self.started,
            ended: SystemTime::now(),
            attributes,
            failed: refused.is_some_and(|problem| problem.code().status().is_server_error()),
        }
    }
}
