{
    "name": "API Synchronization: Benchmark of OCA FastAPI",
    "version": "1.0.0",
    "author": "BJET",
    "website": "https://bjetpro.com/",
    "license": "OPL-1",
    "category": "Technical",
    "depends": ["bj_bench", "fastapi"],
    "post_init_hook": "post_init_hook",
}
