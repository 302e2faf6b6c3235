//! Changes of the made-up host: of a pull request one line in `a.rs`, between two revisions nothing but a line before it.

use pilothouse_proto::hostd::v1::{
    DiffEnd, DiffFile, DiffFileEnd, DiffFiles, DiffHunk, DiffLine, DiffLineKind, DiffListed, DiffPiece, DiffRequest,
    DiffResponse, DiffStart, diff_request::Of, diff_response::Response as Answer, diffs_server::Diffs,
};
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use super::State;

type Answers = Iter<std::vec::IntoIter<Result<DiffResponse, Status>>>;

#[tonic::async_trait]
impl Diffs for State {
    type GetStream = Answers;

    async fn get(&self, request: Request<DiffRequest>) -> Result<Response<Answers>, Status> {
        let (new, lines) = match request.into_inner().of {
            Some(Of::Revisions(of)) => {
                (of.new, vec![line(DiffLineKind::Added, "// new"), line(DiffLineKind::Context, LINE)])
            }
            Some(Of::Pull(of)) => (self.pull(&of.id)?.head, vec![line(DiffLineKind::Added, LINE)]),
            _ => return Err(Status::unimplemented("of sessions nothing is made up")),
        };
        let lines_of = |kinds: [DiffLineKind; 2]| {
            u32::try_from(lines.iter().filter(|line| kinds.contains(&line.kind())).count()).unwrap()
        };
        let (old_lines, new_lines) = (
            lines_of([DiffLineKind::Context, DiffLineKind::Removed]),
            lines_of([DiffLineKind::Context, DiffLineKind::Added]),
        );
        let file = DiffFile {
            status: "modified".into(),
            old_path: b"a.rs".to_vec().into(),
            new_path: b"a.rs".to_vec().into(),
            old_mode: 0o100_644,
            new_mode: 0o100_644,
            ..Default::default()
        };
        let hunk = DiffHunk { old_start: 1, old_lines, new_start: 1, new_lines, lines, ..Default::default() };
        let end = DiffFileEnd { contents: "text".into(), added: 1, ..Default::default() };
        let answers = [
            Answer::Start(DiffStart { new, ..Default::default() }),
            Answer::Files(DiffFiles { files: vec![file] }),
            Answer::Listed(DiffListed { files: 1, cut: false }),
            Answer::Piece(DiffPiece { file: 0, hunks: vec![hunk], end: Some(end) }),
            Answer::End(DiffEnd { files: 1 }),
        ];
        let answers: Vec<_> = answers.map(|answer| Ok(DiffResponse { response: Some(answer) })).into();
        Ok(Response::new(tokio_stream::iter(answers)))
    }
}

/// The line that there is.
pub(crate) const LINE: &str = "let answer = compute();";

fn line(kind: DiffLineKind, text: &str) -> DiffLine {
    DiffLine { kind: kind.into(), text: text.as_bytes().to_vec().into(), ..Default::default() }
}
