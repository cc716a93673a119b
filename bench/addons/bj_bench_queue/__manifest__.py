{
    "name": "API Synchronization: Benchmark of OCA Queue Job",
    "version": "1.0.0",
    "author": "BJET",
    "website": "https://bjetpro.com/",
    "license": "OPL-1",
    "category": "Technical",
    "depends": ["bj_bench", "queue_job"],
}
