{
    "name": "API Synchronization: Benchmark",
    "summary": "Data, endpoints and a bare controller for ./dev bench",
    "version": "1.0.0",
    "author": "BJET",
    "website": "https://bjetpro.com/",
    "license": "OPL-1",
    "category": "Technical",
    "depends": ["bj_api_sync"],
    "post_init_hook": "post_init_hook",
}
