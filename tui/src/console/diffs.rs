//! Reading what was changed.

use pilothouse_proto::hostd::v1::{
    DiffDetail, DiffFile, DiffHunk, DiffLine, DiffLineEnding, DiffLineKind, DiffPull, DiffRequest, DiffRevisions,
    diff_request::Of, diff_response::Response, diffs_client::DiffsClient,
};
use tokio::sync::mpsc;
use tonic::{Status, transport::Channel};
use tui_core::{
    diff::{DiffReport, FileEnd, NewFile, NewRow, Side, Subject},
    report::Report,
    ticket::Ticket,
};

use crate::client::{CallError, HostAddress};

/// Bytes of lines after which a file is cut: nobody reads more of them here.
const FILE_BYTES: u64 = 1 << 20;

/// Reads a diff to its end, and reports what came and that it was all.
pub(super) async fn read(
    ticket: Ticket,
    host: HostAddress,
    channel: Channel,
    subject: Subject,
    reports: mpsc::Sender<Report>,
) {
    let last = match pass(ticket, channel, subject, &reports).await {
        Ok(()) => DiffReport::End,
        Err(status) => DiffReport::Failed(CallError::of(&host, &status).to_string()),
    };
    // Nobody listens only when the console ends.
    let _ = reports.send(Report::Diff(ticket, last)).await;
}

async fn pass(
    ticket: Ticket,
    channel: Channel,
    subject: Subject,
    reports: &mpsc::Sender<Report>,
) -> Result<(), Status> {
    let of = match subject {
        Subject::Session(key) => Of::Session(key.id.to_string()),
        Subject::Pull(key) => Of::Pull(DiffPull { id: key.id(), from: 0, to: 0 }),
        // By their commits: how a revision is numbered may be too long ago to be known.
        Subject::Between { pull, old, new } => {
            let repository = pull.repository.to_string();
            Of::Revisions(DiffRevisions { repository, old, new, since_merge_base: false })
        }
    };
    let detail = DiffDetail::Hunks.into();
    let request = DiffRequest { of: Some(of), detail, file_bytes: FILE_BYTES, ..DiffRequest::default() };
    let of_pull = !matches!(request.of, Some(Of::Session(_)));
    let mut stream = DiffsClient::new(channel).get(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        if let (true, Some(Response::Start(start))) = (of_pull, &message.response) {
            let commit = DiffReport::Commit(start.new.clone());
            if reports.send(Report::Diff(ticket, commit)).await.is_err() {
                return Ok(());
            }
        }
        for report in message.response.into_iter().flat_map(news) {
            if reports.send(Report::Diff(ticket, report)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn news(response: Response) -> Vec<DiffReport> {
    match response {
        Response::Start(start) => {
            vec![DiffReport::Start(start.missing, start.suspended.then_some(start.taken_at))]
        }
        Response::Files(files) => vec![DiffReport::Files(files.files.into_iter().map(file).collect())],
        Response::Listed(listed) => vec![DiffReport::Listed(listed.cut)],
        Response::Piece(piece) => {
            let number = piece.file as usize;
            let rows = piece.hunks.into_iter().flat_map(rows).collect();
            let end = piece.end.map(|end| {
                let end = FileEnd { contents: end.contents, added: end.added, removed: end.removed, cut: end.cut };
                DiffReport::FileEnd(number, end)
            });
            [Some(DiffReport::Lines(number, rows)), end].into_iter().flatten().collect()
        }
        Response::End(_) => vec![],
    }
}

fn file(file: DiffFile) -> NewFile {
    let (old, new) = (file.old_mode, file.new_mode);
    let mode = if old != 0 && new != 0 && old != new { format!("mode {old:06o} → {new:06o}") } else { String::new() };
    NewFile { status: file.status, old_path: file.old_path.into(), new_path: file.new_path.into(), mode }
}

fn rows(hunk: DiffHunk) -> Vec<NewRow> {
    let (old, new) = (hunk.old_start, hunk.new_start);
    let heading = format!("@@ -{old},{} +{new},{} @@", hunk.old_lines, hunk.new_lines);
    let head = (!hunk.goes_on).then_some(NewRow::Hunk(old, new, heading));
    let mut rows: Vec<NewRow> = head.into_iter().collect();
    let mut more = false;
    for line in hunk.lines {
        let goes_on = line.ending() == DiffLineEnding::GoesOn;
        rows.push(row(line, more));
        more = goes_on;
    }
    rows
}

fn row(line: DiffLine, more: bool) -> NewRow {
    let side = match line.kind() {
        DiffLineKind::Context => Side::Both,
        DiffLineKind::Removed => Side::Old,
        DiffLineKind::Added => Side::New,
    };
    let open = line.ending() == DiffLineEnding::None;
    let marks = line.marks.chunks_exact(2).map(|mark| (mark[0], mark[1])).collect();
    NewRow::Line { side, text: line.text.into(), marks, more, open }
}
