PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE acceptances (
	user VARCHAR NOT NULL, 
	factory VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (user, factory, version)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0009');
CREATE TABLE audit (
	number INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	person VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	factory VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	job VARCHAR, 
	detail TEXT NOT NULL, 
	key_id VARCHAR DEFAULT '' NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "audit" VALUES(1,1.79580137796002697e+09,'ada','fg-ada','it4lia','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(2,1.79580137806006598e+09,'ada','fg-ada','it4lia','submit','1','','local');
INSERT INTO "audit" VALUES(3,1.79580137960725188e+09,'grace','fg-grace','it4lia','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(4,1.79580137969980406e+09,'grace','fg-grace','it4lia','submit','2','','local');
INSERT INTO "audit" VALUES(5,1.7958013797785921e+09,'ada','fg-ada','it4lia','enter','1','','local');
INSERT INTO "audit" VALUES(6,1.79580138083162689e+09,'grace','fg-grace','it4lia','enter','2','','local');
INSERT INTO "audit" VALUES(7,1.79580138809227108e+09,'emmy','fg-emmy','it4lia','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(8,1795801388.16719,'emmy','fg-emmy','it4lia','submit','3','','local');
INSERT INTO "audit" VALUES(9,1795801390.0679,'emmy','fg-emmy','it4lia','enter','3','','local');
INSERT INTO "audit" VALUES(10,1795801392.53366,'emmy','fg-emmy','it4lia','stop','3','by hub: stopped','');
INSERT INTO "audit" VALUES(11,1.795801394133991e+09,'emmy','fg-emmy','it4lia','end','3','stopped','');
INSERT INTO "audit" VALUES(12,1.79580139728891301e+09,'ada','fg-ada','it4lia','cluster',NULL,'cluster eec9e12c26bf469f91e27ce07bcb6047: gpu-1, kept','');
INSERT INTO "audit" VALUES(13,1.79580139749959206e+09,'ada','fg-ada','it4lia','workers',NULL,'cluster eec9e12c26bf469f91e27ce07bcb6047: 2 of 1 h','');
INSERT INTO "audit" VALUES(14,1.79580139754289889e+09,'ada','fg-ada','it4lia','submit','4','cluster eec9e12c26bf469f91e27ce07bcb6047: 2 workers','local');
INSERT INTO "audit" VALUES(15,1.79580140039922404e+09,'emmy','fg-emmy','it4lia','ask',NULL,'gpu-2','');
INSERT INTO "audit" VALUES(16,1.79580140045708489e+09,'emmy','fg-emmy','it4lia','submit','6','','local');
INSERT INTO "audit" VALUES(17,1.79580140187098503e+09,'ada','fg-ada','it4lia','ask',NULL,'gpu-4','');
INSERT INTO "audit" VALUES(18,1.79580140190872192e+09,'ada','fg-ada','it4lia','submit','7','','local');
INSERT INTO "audit" VALUES(19,1.79580140330701303e+09,'ada','fg-ada','it4lia','workers',NULL,'cluster eec9e12c26bf469f91e27ce07bcb6047: 2 of 1 h','');
INSERT INTO "audit" VALUES(20,1.79580140333791494e+09,'ada','fg-ada','it4lia','submit','8','cluster eec9e12c26bf469f91e27ce07bcb6047: 2 workers','local');
CREATE TABLE batches (
	id VARCHAR NOT NULL, 
	cluster VARCHAR NOT NULL, 
	count INTEGER NOT NULL, 
	hours FLOAT NOT NULL, 
	created FLOAT NOT NULL, 
	submit_begun FLOAT, 
	submits INTEGER NOT NULL, 
	job VARCHAR, 
	submitted FLOAT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(cluster) REFERENCES clusters (id)
);
INSERT INTO "batches" VALUES('2e31a68b16a7402d8c9236df48746861','eec9e12c26bf469f91e27ce07bcb6047',2,1.0,1.79580139749750089e+09,1.79580139750217509e+09,1,'4',1795801397.0);
INSERT INTO "batches" VALUES('4924694fd74f46a9b75467315c1a1902','eec9e12c26bf469f91e27ce07bcb6047',2,1.0,1.7958014033060491e+09,1795801403.31117,1,'8',1795801403.0);
CREATE TABLE budgets (
	project VARCHAR NOT NULL, 
	gpu_hours FLOAT, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (project)
);
CREATE TABLE charges (
	id VARCHAR NOT NULL, 
	project VARCHAR, 
	factory VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	gpus INTEGER NOT NULL, 
	reserved INTEGER NOT NULL, 
	reserved_at FLOAT NOT NULL, 
	started FLOAT, 
	earlier INTEGER NOT NULL, 
	ended FLOAT, 
	seconds INTEGER, 
	PRIMARY KEY (id)
);
INSERT INTO "charges" VALUES('28f1e05a5b14400c9574436a5bbd39ac',NULL,'it4lia','ada','fg-ada',1,7200,1.79580137796052503e+09,1795801378.0,0,NULL,NULL);
INSERT INTO "charges" VALUES('5a21b7a3a6c64b5da0e8039f57677710',NULL,'it4lia','grace','fg-grace',1,3600,1.79580137960743188e+09,1795801379.0,0,NULL,NULL);
INSERT INTO "charges" VALUES('2c04ec06131c45339d25d3daff7dabee',NULL,'it4lia','emmy','fg-emmy',1,3600,1.79580138809249591e+09,1795801388.0,0,1795801393.0,5);
INSERT INTO "charges" VALUES('2e31a68b16a7402d8c9236df48746861/1',NULL,'it4lia','ada','fg-ada',1,3600,1.79580139749979591e+09,1795801397.0,0,NULL,NULL);
INSERT INTO "charges" VALUES('2e31a68b16a7402d8c9236df48746861/2',NULL,'it4lia','ada','fg-ada',1,3600,1.79580139749979901e+09,1795801397.0,0,NULL,NULL);
INSERT INTO "charges" VALUES('808fc6c4cc0c4dfdb2f1a0743dc8f5c1',NULL,'it4lia','emmy','fg-emmy',2,3600,1.79580140039942097e+09,NULL,0,NULL,NULL);
INSERT INTO "charges" VALUES('81b81fc477b444739d6529906450fcf6',NULL,'it4lia','ada','fg-ada',4,10800,1795801401.87113,NULL,0,NULL,NULL);
INSERT INTO "charges" VALUES('4924694fd74f46a9b75467315c1a1902/1',NULL,'it4lia','ada','fg-ada',1,3600,1.79580140330717611e+09,NULL,0,NULL,NULL);
INSERT INTO "charges" VALUES('4924694fd74f46a9b75467315c1a1902/2',NULL,'it4lia','ada','fg-ada',1,3600,1.79580140330717802e+09,NULL,0,NULL,NULL);
CREATE TABLE choices (
	user VARCHAR NOT NULL, 
	choice TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (user)
);
INSERT INTO "choices" VALUES('ada','{"factory":"it4lia","size":"gpu-4","environment":"python","hours":3.0,"until":null,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}',1795801401.87234);
INSERT INTO "choices" VALUES('grace','{"factory":"it4lia","size":"gpu-1","environment":"python","hours":1.0,"until":null,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}',1.79580137962065505e+09);
INSERT INTO "choices" VALUES('emmy','{"factory":"it4lia","size":"gpu-2","environment":"python","hours":1.0,"until":null,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}',1.79580140040521907e+09);
CREATE TABLE clusters (
	id VARCHAR NOT NULL, 
	user VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	factory VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	choice TEXT NOT NULL, 
	options TEXT NOT NULL, 
	processes INTEGER NOT NULL, 
	gpus INTEGER NOT NULL, 
	cap_gpu_hours FLOAT, 
	earlier FLOAT DEFAULT '0' NOT NULL, 
	session VARCHAR, 
	created FLOAT NOT NULL, 
	wish VARCHAR NOT NULL, 
	ended FLOAT, 
	"end" TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "clusters" VALUES('eec9e12c26bf469f91e27ce07bcb6047','ada','kept','it4lia','fg-ada','{"factory":"it4lia","size":"gpu-1","environment":"python","hours":1.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',1,1,NULL,0.0,'28f1e05a5b14400c9574436a5bbd39ac',1.79580139723795294e+09,'run',NULL,NULL);
CREATE TABLE drains (
	factory VARCHAR NOT NULL, 
	message TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory)
);
CREATE TABLE hub_rules (
	name VARCHAR NOT NULL, 
	told TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "hub_rules" VALUES('rules','{"access":false,"terms":null,"options":{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}}',1.79580132367223811e+09);
CREATE TABLE leases (
	factory VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	user VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory, account)
);
CREATE TABLE log_lines (
	number INTEGER NOT NULL, 
	session VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (number), 
	FOREIGN KEY(session) REFERENCES sessions (id)
);
INSERT INTO "log_lines" VALUES(1,'28f1e05a5b14400c9574436a5bbd39ac',1.79580137795485091e+09,'Asked for gpu-1 at Leonardo Booster.');
INSERT INTO "log_lines" VALUES(2,'28f1e05a5b14400c9574436a5bbd39ac',1.79580137805584311e+09,'Job 1 waits in the queue.');
INSERT INTO "log_lines" VALUES(3,'28f1e05a5b14400c9574436a5bbd39ac',1.79580137914125895e+09,'The job runs on gpu001.');
INSERT INTO "log_lines" VALUES(4,'5a21b7a3a6c64b5da0e8039f57677710',1.79580137960223197e+09,'Asked for gpu-1 at Leonardo Booster.');
INSERT INTO "log_lines" VALUES(5,'5a21b7a3a6c64b5da0e8039f57677710',1.79580137969822788e+09,'Job 2 waits in the queue.');
INSERT INTO "log_lines" VALUES(6,'5a21b7a3a6c64b5da0e8039f57677710',1.79580138016393089e+09,'The job runs on gpu001.');
INSERT INTO "log_lines" VALUES(7,'28f1e05a5b14400c9574436a5bbd39ac',1795801383.01418,'The notebook answers.');
INSERT INTO "log_lines" VALUES(8,'5a21b7a3a6c64b5da0e8039f57677710',1.79580138343394303e+09,'The notebook answers.');
INSERT INTO "log_lines" VALUES(9,'2c04ec06131c45339d25d3daff7dabee',1.79580138809103894e+09,'Asked for gpu-1 at Leonardo Booster.');
INSERT INTO "log_lines" VALUES(10,'2c04ec06131c45339d25d3daff7dabee',1.79580138816405606e+09,'Job 3 waits in the queue.');
INSERT INTO "log_lines" VALUES(11,'2c04ec06131c45339d25d3daff7dabee',1795801389.0948,'The job runs on gpu001.');
INSERT INTO "log_lines" VALUES(12,'2c04ec06131c45339d25d3daff7dabee',1.79580139233489489e+09,'The notebook answers.');
INSERT INTO "log_lines" VALUES(13,'2c04ec06131c45339d25d3daff7dabee',1.79580139253138399e+09,'The gateway stopped it.');
INSERT INTO "log_lines" VALUES(14,'2c04ec06131c45339d25d3daff7dabee',1795801394.13212,'It was stopped.');
INSERT INTO "log_lines" VALUES(15,'808fc6c4cc0c4dfdb2f1a0743dc8f5c1',1.79580140039042592e+09,'Asked for gpu-2 at Leonardo Booster.');
INSERT INTO "log_lines" VALUES(16,'808fc6c4cc0c4dfdb2f1a0743dc8f5c1',1.79580140045548391e+09,'Job 6 waits in the queue.');
INSERT INTO "log_lines" VALUES(17,'81b81fc477b444739d6529906450fcf6',1795801401.86997,'Asked for gpu-4 at Leonardo Booster.');
INSERT INTO "log_lines" VALUES(18,'81b81fc477b444739d6529906450fcf6',1.79580140190697908e+09,'Job 7 waits in the queue.');
CREATE TABLE losses (
	id VARCHAR NOT NULL, 
	ends FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE pauses (
	factory VARCHAR NOT NULL, 
	message TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory)
);
CREATE TABLE people (
	user VARCHAR NOT NULL, 
	groups TEXT NOT NULL, 
	blocked BOOLEAN NOT NULL, 
	at FLOAT NOT NULL, 
	access TEXT, 
	options TEXT, 
	PRIMARY KEY (user)
);
INSERT INTO "people" VALUES('ada','[]',0,1795801377.91971,'{"until":null,"refusal":null,"terms":null}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}');
INSERT INTO "people" VALUES('grace','[]',0,1.79580137955886292e+09,'{"until":null,"refusal":null,"terms":null}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}');
INSERT INTO "people" VALUES('emmy','[]',0,1.79580138805725789e+09,'{"until":null,"refusal":null,"terms":null}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}');
CREATE TABLE sessions (
	id VARCHAR NOT NULL, 
	user VARCHAR NOT NULL, 
	server VARCHAR NOT NULL, 
	factory VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	choice TEXT NOT NULL, 
	options TEXT NOT NULL, 
	port INTEGER NOT NULL, 
	created FLOAT NOT NULL, 
	state TEXT NOT NULL, 
	wish VARCHAR NOT NULL, 
	stopped_for TEXT, 
	submit_begun FLOAT, 
	submits INTEGER NOT NULL, 
	job VARCHAR, 
	submitted FLOAT, 
	node VARCHAR, 
	partition VARCHAR, 
	restarts INTEGER NOT NULL, 
	started FLOAT, 
	ready FLOAT, 
	ends FLOAT, 
	ended FLOAT, 
	last_activity FLOAT, 
	end_reason TEXT, 
	"end" TEXT, 
	exit_code INTEGER, 
	log_tail TEXT NOT NULL, 
	extensions INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "sessions" VALUES('28f1e05a5b14400c9574436a5bbd39ac','ada','','it4lia','fg-ada','{"factory":"it4lia","size":"gpu-1","environment":"python","hours":2.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',28333,1.79580137795485091e+09,'"running"','run',NULL,1.79580137801456308e+09,1,'1',1795801378.0,'gpu001','boost_usr_prod',0,1795801378.0,1.79580138301415395e+09,1795808578.0,NULL,1795801382.1,NULL,NULL,NULL,'[]',0);
INSERT INTO "sessions" VALUES('5a21b7a3a6c64b5da0e8039f57677710','grace','','it4lia','fg-grace','{"factory":"it4lia","size":"gpu-1","environment":"python","hours":1.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',28334,1.79580137960223197e+09,'"running"','run',NULL,1.7958013796706779e+09,1,'2',1795801379.0,'gpu001','boost_usr_prod',0,1795801379.0,1.79580138343392801e+09,1795804979.0,NULL,1795801382.8,NULL,NULL,NULL,'[]',0);
INSERT INTO "sessions" VALUES('2c04ec06131c45339d25d3daff7dabee','emmy','','it4lia','fg-emmy','{"factory":"it4lia","size":"gpu-1","environment":"python","hours":1.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',28335,1.79580138809103894e+09,'"ended"','stop','"stopped"',1.7958013881359291e+09,1,'3',1795801388.0,'gpu001','boost_usr_prod',0,1795801388.0,1.79580139233486604e+09,1795804988.0,1.79580139413122701e+09,1795801391.7,'"stopped"','{"code":"stopped","what":"It was stopped.","do":"Your files are as you saved them. Start a new session to go on.","whose":"you","scheduler":""}',0,'["at async ModuleLoader.import (node:internal/modules/esm/loader:606:24)","at async asyncRunEntryPointWithESMLoader (node:internal/modules/run_main:117:5)","","Node.js v20.20.2","","[I 2026-11-27 17:43:11.578 ServerApp] factorygate.session.extension | extension was successfully linked.","[I 2026-11-27 17:43:11.578 ServerApp] jupyter_lsp | extension was successfully linked.","[I 2026-11-27 17:43:11.578 ServerApp] jupyter_server_proxy | extension was successfully linked.","[I 2026-11-27 17:43:11.588 ServerApp] jupyter_server_terminals | extension was successfully linked.","[I 2026-11-27 17:43:11.588 JupyterHubSingleUser] Starting jupyterhub single-user server extension version 6.1.1","[I 2026-11-27 17:43:11.588 JupyterHubSingleUser] Using default url from environment $JUPYTERHUB_DEFAULT_URL: /lab","[I 2026-11-27 17:43:11.592 ServerApp] jupyterhub | extension was successfully linked.","[W 2026-11-27 17:43:11.593 LabApp] ''extra_template_paths'' was found in both NotebookApp and ServerApp. This is likely a recent change. This config will only be set in NotebookApp. Please check if you should also config these traits in ServerApp for your purpose.","[I 2026-11-27 17:43:11.600 ServerApp] jupyterlab | extension was successfully linked.","[W 2026-11-27 17:43:11.603 JupyterNotebookApp] ''extra_template_paths'' was found in both NotebookApp and ServerApp. This is likely a recent change. This config will only be set in NotebookApp. Please check if you should also config these traits in ServerApp for your purpose.","[I 2026-11-27 17:43:11.606 ServerApp] notebook | extension was successfully linked.","[I 2026-11-27 17:43:11.611 ServerApp] Writing Jupyter server cookie secret to /tmp/factorygate-1002-2c04ec06-s0kpgioc/run/jupyter_cookie_secret","[I 2026-11-27 17:43:11.684 ServerApp] notebook_shim | extension was successfully linked.","[I 2026-11-27 17:43:11.713 ServerApp] notebook_shim | extension was successfully loaded.","[I 2026-11-27 17:43:11.718 ServerApp] factorygate.session.extension | extension was successfully loaded.","[I 2026-11-27 17:43:11.721 ServerApp] jupyter_lsp | extension was successfully loaded.","[I 2026-11-27 17:43:11.736 ServerApp] jupyter_server_proxy | extension was successfully loaded.","[I 2026-11-27 17:43:11.737 ServerApp] jupyter_server_terminals | extension was successfully loaded.","[I 2026-11-27 17:43:11.795 JupyterHubSingleUser] Updating Hub with activity every 300 seconds","[I 2026-11-27 17:43:11.795 ServerApp] jupyterhub | extension was successfully loaded.","[I 2026-11-27 17:43:11.819 LabApp] JupyterLab extension loaded from /opt/gateway/.demo/programs/notebook/lib/python3.13/site-packages/jupyterlab","[I 2026-11-27 17:43:11.819 LabApp] JupyterLab application directory is /opt/gateway/.demo/programs/notebook/share/jupyter/lab","[I 2026-11-27 17:43:11.826 LabApp] Extension Manager is ''pypi''.","[I 2026-11-27 17:43:12.261 ServerApp] jupyterlab | extension was successfully loaded.","[I 2026-11-27 17:43:12.263 ServerApp] Skipped non-installed server(s): basedpyright, bash-language-server, dockerfile-language-server-nodejs, javascript-typescript-langserver, jedi-language-server, julia-language-server, pyrefly, pyright, python-language-server, python-lsp-server, r-languageserver, sql-language-server, texlab, typescript-language-server, unified-language-server, vscode-css-languageserver-bin, vscode-html-languageserver-bin, vscode-json-languageserver-bin, yaml-language-server","[I 2026-11-27 17:43:12.269 ServerApp] notebook | extension was successfully loaded.","[I 2026-11-27 17:43:12.269 ServerApp] Serving notebooks from local directory: /home/fg-emmy","[I 2026-11-27 17:43:12.269 ServerApp] Jupyter Server 2.21.1 is running at:","[I 2026-11-27 17:43:12.269 ServerApp] http+unix://%2Ftmp%2Ffactorygate-1002-2c04ec06-s0kpgioc%2Fnotebook.sock/user/emmy/lab?token=[secret]","[I 2026-11-27 17:43:12.269 ServerApp] Use Control-C to stop this server and shut down all kernels (twice to skip confirmation).","[I 2026-11-27 17:43:12.333 ServerApp] 200 GET /user/emmy/api (@0.0.0.0) 1.27ms","[I 2026-11-27 17:43:12.476 ServerApp] 200 GET /user/emmy/api (@0.0.0.0) 3.36ms","2026-11-27 17:43:12,554 door INFO ending: stopped: The session was stopped as asked.","[C 2026-11-27 17:43:12.563 ServerApp] received signal 15, stopping","[I 2026-11-27 17:43:12.564 ServerApp] Shutting down 8 extensions"]',0);
INSERT INTO "sessions" VALUES('808fc6c4cc0c4dfdb2f1a0743dc8f5c1','emmy','','it4lia','fg-emmy','{"factory":"it4lia","size":"gpu-2","environment":"python","hours":1.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',28336,1.79580140039042592e+09,'"pending"','run',NULL,1.79580140042072796e+09,1,'6',1795801400.0,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',0);
INSERT INTO "sessions" VALUES('81b81fc477b444739d6529906450fcf6','ada','second','it4lia','fg-ada','{"factory":"it4lia","size":"gpu-4","environment":"python","hours":3.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null,"reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',28337,1795801401.86997,'"pending"','run',NULL,1.79580140188864493e+09,1,'7',1795801401.0,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',0);
CREATE TABLE workers (
	batch VARCHAR NOT NULL, 
	task INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	state TEXT NOT NULL, 
	wish VARCHAR NOT NULL, 
	node VARCHAR, 
	restarts INTEGER DEFAULT '0' NOT NULL, 
	earlier FLOAT DEFAULT '0' NOT NULL, 
	started FLOAT, 
	ends FLOAT, 
	ended FLOAT, 
	end_reason TEXT, 
	"end" TEXT, 
	log_tail TEXT NOT NULL, 
	PRIMARY KEY (batch, task), 
	FOREIGN KEY(batch) REFERENCES batches (id)
);
INSERT INTO "workers" VALUES('2e31a68b16a7402d8c9236df48746861',1,'kept-0','"running"','run','gpu001',0,0.0,1795801397.0,1795804997.0,NULL,NULL,NULL,'[]');
INSERT INTO "workers" VALUES('2e31a68b16a7402d8c9236df48746861',2,'kept-1','"running"','run','gpu001',0,0.0,1795801397.0,1795804997.0,NULL,NULL,NULL,'[]');
INSERT INTO "workers" VALUES('4924694fd74f46a9b75467315c1a1902',1,'kept-2','"pending"','run',NULL,0,0.0,NULL,NULL,NULL,NULL,NULL,'[]');
INSERT INTO "workers" VALUES('4924694fd74f46a9b75467315c1a1902',2,'kept-3','"pending"','run',NULL,0,0.0,NULL,NULL,NULL,NULL,NULL,'[]');
CREATE UNIQUE INDEX one_running_session_of_a_server ON sessions (user, server) WHERE ended IS NULL AND wish = 'run';
CREATE UNIQUE INDEX one_session_of_a_job ON sessions (factory, job) WHERE ended IS NULL;
CREATE INDEX live_sessions ON sessions (id) WHERE ended IS NULL;
CREATE INDEX sessions_of_a_person ON sessions (user, created);
CREATE INDEX charges_of_a_project ON charges (project, ended);
CREATE INDEX charges_by_end ON charges (ended);
CREATE INDEX live_clusters ON clusters (id) WHERE ended IS NULL;
CREATE INDEX ended_clusters ON clusters (user, ended);
CREATE INDEX ix_log_lines_session ON log_lines (session);
CREATE INDEX ix_batches_cluster ON batches (cluster);
COMMIT;
