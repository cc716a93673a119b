{
    "name": "API Synchronization: Benchmark of OCA Base Rest",
    "version": "1.0.0",
    "author": "BJET",
    "website": "https://bjetpro.com/",
    "license": "OPL-1",
    "category": "Technical",
    "depends": ["bj_bench", "rest_log"],
}
