-- What a live client of Weights & Biases has sent of a run: its config and summary as it wrote them (a
-- client that resumes the run asks for them), and how many lines of the history are logged.
create table wandb_runs (
    run_id text primary key,
    config text not null,
    summary text not null,
    history_lines bigint not null,
    last_row text not null
);
