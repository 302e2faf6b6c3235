use futures::StreamExt as _;
use hostd_core::diff::{Hunk, Kind};
use pilothouse_proto::hostd::v1::{
    DiffDetail, DiffEnd, DiffFile, DiffFileEnd, DiffFiles, DiffHunk, DiffLine, DiffLineEnding, DiffLineKind,
    DiffListed, DiffPiece, DiffRequest, DiffResponse, DiffStart, diff_request::Of, diff_response::Response as Part,
    diffs_server::Diffs,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, status,
    streams::{Answers, until_closing},
};
use crate::diff::{Answer, Detail, Ending, File, FileEnd, PieceHunk, PieceLine, Revisions, Start, Wish};

#[async_trait]
impl Diffs for Api {
    type GetStream = Answers<DiffResponse>;

    async fn get(&self, request: Request<DiffRequest>) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        let wish = wish(&request)?;
        let answers = match request.of {
            Some(Of::Session(id)) => self.fleet.diff(&id, wish).await?,
            Some(Of::Revisions(of)) => {
                let (repository, since_merge_base) = (of.repository, of.since_merge_base);
                let revisions = Revisions { repository, old: of.old, new: of.new, since_merge_base };
                self.diffs.revisions(&revisions, wish).await.map_err(|error| status::diff(&error))?
            }
            Some(Of::Pull(of)) => {
                let id = self.pull_id(&of.id).await?;
                let pull = self.forge.pull(&id).await.map_err(status::forge)?.pull;
                let revisions = Revisions::of_pull(&pull, of.from, of.to).map_err(|error| status::diff(&error))?;
                self.diffs.revisions(&revisions, wish).await.map_err(|error| status::diff(&error))?
            }
            None => {
                return Err(status::invalid("say what is to be compared: a session, a pull request or two revisions"));
            }
        };
        let answers = ReceiverStream::new(answers).map(|answer| match answer {
            Ok(answer) => Ok(DiffResponse { response: Some(part(answer)) }),
            Err(error) => Err(status::diff(&error)),
        });
        Ok(Response::new(until_closing(answers, &self.closing)))
    }
}

fn wish(request: &DiffRequest) -> Result<Wish, Status> {
    let detail = match DiffDetail::try_from(request.detail) {
        Ok(DiffDetail::Hunks) => Detail::Hunks,
        Ok(DiffDetail::List) => Detail::List,
        Ok(DiffDetail::Counts) => Detail::Counts,
        Err(_) => return Err(status::invalid("the detail is none of hunks, list and counts")),
    };
    let default = Wish::default();
    Ok(Wish {
        paths: request.paths.clone(),
        detail,
        context: request.context.unwrap_or(default.context),
        file_bytes: Some(request.file_bytes).filter(|bytes| *bytes > 0),
    })
}

fn part(answer: Answer) -> Part {
    match answer {
        Answer::Start(Start { old, new, taken_at, suspended, missing }) => {
            Part::Start(DiffStart { old, new, taken_at, suspended, missing })
        }
        Answer::Files(files) => Part::Files(DiffFiles { files: files.into_iter().map(file).collect() }),
        Answer::Listed { files, cut } => Part::Listed(DiffListed { files, cut }),
        Answer::Piece(piece) => {
            let hunks = piece.hunks.into_iter().map(hunk).collect();
            Part::Piece(DiffPiece { file: piece.file, hunks, end: piece.end.map(end) })
        }
        Answer::End(files) => Part::End(DiffEnd { files }),
    }
}

fn file(File { number, change, old_bytes, new_bytes }: File) -> DiffFile {
    DiffFile {
        number,
        status: change.status.word().into(),
        old_path: change.old_path.into(),
        new_path: change.new_path.into(),
        old_mode: change.old_mode.0,
        new_mode: change.new_mode.0,
        old_id: change.old_id,
        new_id: change.new_id,
        similarity: change.similarity.into(),
        old_bytes: old_bytes.unwrap_or(0),
        new_bytes: new_bytes.unwrap_or(0),
    }
}

fn hunk(PieceHunk { place, lines }: PieceHunk) -> DiffHunk {
    let lines = lines.into_iter().map(line).collect();
    match place {
        None => DiffHunk { goes_on: true, lines, ..DiffHunk::default() },
        Some(Hunk { old_start, old_lines, new_start, new_lines }) => {
            DiffHunk { goes_on: false, old_start, old_lines, new_start, new_lines, lines }
        }
    }
}

fn line(PieceLine { kind, text, ending, marks }: PieceLine) -> DiffLine {
    let kind = match kind {
        Kind::Context => DiffLineKind::Context,
        Kind::Removed => DiffLineKind::Removed,
        Kind::Added => DiffLineKind::Added,
    };
    let ending = match ending {
        Ending::Newline => DiffLineEnding::Newline,
        Ending::None => DiffLineEnding::None,
        Ending::GoesOn => DiffLineEnding::GoesOn,
    };
    DiffLine { kind: kind.into(), text, ending: ending.into(), marks }
}

fn end(FileEnd { contents, added, removed, cut, not_utf8 }: FileEnd) -> DiffFileEnd {
    DiffFileEnd { contents: contents.word().into(), added, removed, cut, not_utf8 }
}
