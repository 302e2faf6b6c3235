//! The commit that a merge makes, by real git in the bare repository: nothing is seen of it until a branch points to it.

use hostd_core::pulls::{MergeMethod, MergedTrees, PullRequest, Rules, Who};

use super::attributes::Attributes;
use crate::{ForgeError, PullId, git::Repository};

/// Makes the commit that the base branch is to point to after the merge; returns its id.
pub(super) async fn combine(
    repository: &Repository,
    pull: &PullRequest,
    rules: &Rules,
    who: &Who,
    base: &str,
) -> Result<String, ForgeError> {
    let (head, base_branch) = (pull.head(), &pull.base_branch);
    if repository.contains(base, head).await? {
        return Err(ForgeError::NotMergeable(format!(
            "`{base_branch}` has all of it already; there is nothing to merge"
        )));
    }
    if rules.method == MergeMethod::FastForward {
        if repository.contains(head, base).await? {
            return Ok(head.to_owned());
        }
        let help = "rebase it and push, or choose another method with `pilothouse repo set --merge`";
        let text = format!("`{base_branch}` has commits that the head lacks, and may only be fast-forwarded; {help}");
        return Err(ForgeError::NotMergeable(text));
    }
    let tree = merge_tree(repository, pull, base).await?;
    let title = match rules.method {
        MergeMethod::Squash => format!("{} (#{})", pull.title, pull.number),
        _ => format!("Merge pull request #{}: {}", pull.number, pull.title),
    };
    let message = if pull.body.is_empty() { title } else { format!("{title}\n\n{}", pull.body) };
    let author = match rules.method {
        MergeMethod::Squash => author_of(repository, head).await?,
        _ => person(&who.name),
    };
    let committer = person(&who.name);
    let mut args = vec!["commit-tree", "--no-gpg-sign", "-p", base];
    if rules.method == MergeMethod::Merge {
        args.extend(["-p", head]);
    }
    args.extend(["-m", &message, &tree]);
    let identity = [
        ("GIT_AUTHOR_NAME", author.0.as_str()),
        ("GIT_AUTHOR_EMAIL", author.1.as_str()),
        ("GIT_COMMITTER_NAME", committer.0.as_str()),
        ("GIT_COMMITTER_EMAIL", committer.1.as_str()),
    ];
    let ran = repository.run_as(args, &identity).await?;
    if ran.code == 0 { Ok(ran.line()) } else { Err(ran.failed("making the merge commit")) }
}

/// Merges the base's and the head's trees; returns the id of the resulting tree.
async fn merge_tree(repository: &Repository, pull: &PullRequest, base: &str) -> Result<String, ForgeError> {
    let attributes = Attributes::of(repository, base).await?;
    let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--messages", base, pull.head()];
    let ran = repository.run(attributes.arguments().into_iter().chain(args.map(Into::into))).await?;
    let trees = if matches!(ran.code, 0 | 1) { MergedTrees::read(&ran.stdout, ran.code == 0) } else { None };
    match trees {
        Some(MergedTrees::Clean(tree)) => Ok(tree),
        Some(MergedTrees::Conflicts { paths, said }) => {
            Err(ForgeError::Conflicts { id: Box::new(PullId::of(pull)), base: pull.base_branch.clone(), paths, said })
        }
        None if repository.merge_base(base, pull.head()).await?.is_none() => {
            let base = &pull.base_branch;
            let help = format!("make the commits again on top of `{base}`, and push them");
            Err(ForgeError::NotMergeable(format!("`{base}` and the head have no commit in common; {help}")))
        }
        None => Err(ran.failed("merging")),
    }
}

/// Name and email address of a commit's author.
async fn author_of(repository: &Repository, commit: &str) -> Result<(String, String), ForgeError> {
    let ran = repository.run(["show", "--no-patch", "--format=%an%x00%ae", commit, "--"]).await?;
    let line = ran.line();
    Ok(match line.split_once('\0') {
        Some((name, email)) if !name.trim().is_empty() => (name.into(), email.into()),
        _ => person("pilothouse"),
    })
}

/// Name and email address under which git knows a person of this host.
fn person(name: &str) -> (String, String) {
    let local: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    (name.to_owned(), format!("{local}@pilothouse.internal"))
}
