BEGIN TRANSACTION;
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
INSERT INTO "audit" VALUES(1,1.79560437539703297e+09,'ada','a','one','ask',NULL,'','');
INSERT INTO "audit" VALUES(2,1.79560437540493106e+09,'grace','a','one','ask',NULL,'','');
CREATE TABLE batches (
	id VARCHAR NOT NULL, 
	cluster VARCHAR NOT NULL, 
	count INTEGER NOT NULL, 
	hours FLOAT NOT NULL, 
	created FLOAT NOT NULL, 
	submit_begun FLOAT, 
	submits INTEGER NOT NULL, 
	job VARCHAR, 
	PRIMARY KEY (id), 
	FOREIGN KEY(cluster) REFERENCES clusters (id)
);
INSERT INTO "batches" VALUES('dddddddddddddddddddddddddddddddd','cccccccccccccccccccccccccccccccc',2,1.0,1772366400.0,1772366400.0,1,'7');
CREATE TABLE choices (
	user VARCHAR NOT NULL, 
	choice TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (user)
);
INSERT INTO "choices" VALUES('ada','{"factory":null,"size":"gpu-1","environment":null,"hours":null,"idle_minutes":null,"unopened_minutes":null,"give_up_hours":null,"project":null}',1.79560437541275405e+09);
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
INSERT INTO "clusters" VALUES('cccccccccccccccccccccccccccccccc','ada','mine','one','a','{"factory":"one","size":"gpu-1","environment":"plain","hours":1.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',1,1,5.0,0.0,NULL,1772366400.0,'run',NULL,NULL);
CREATE TABLE drains (
	factory VARCHAR NOT NULL, 
	message TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory)
);
INSERT INTO "drains" VALUES('one','Back at noon.',1.79560437541999506e+09);
CREATE TABLE log_lines (
	number INTEGER NOT NULL, 
	session VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (number), 
	FOREIGN KEY(session) REFERENCES sessions (id)
);
INSERT INTO "log_lines" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1772366400.0,'Asked for gpu-1 at m.');
INSERT INTO "log_lines" VALUES(2,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',1772366400.0,'Asked for gpu-1 at m.');
INSERT INTO "log_lines" VALUES(3,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',1.79560437540687394e+09,'Ended.');
CREATE TABLE pauses (
	factory VARCHAR NOT NULL, 
	message TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory)
);
INSERT INTO "pauses" VALUES('one','For a moment.',1.79560437542798709e+09);
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
	PRIMARY KEY (id)
);
INSERT INTO "sessions" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','ada','','one','a','{"factory":"one","size":"gpu-1","environment":"plain","hours":1.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20000,1772366400.0,'"pending"','run',NULL,NULL,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]');
INSERT INTO "sessions" VALUES('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','grace','','one','a','{"factory":"one","size":"gpu-1","environment":"plain","hours":1.0,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":null}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20000,1772366400.0,'"ended"','run',NULL,NULL,0,NULL,NULL,NULL,0,NULL,NULL,NULL,1772366400.0,NULL,'"finished"','{"code":"finished","what":"It ended.","do":"","whose":"wait","scheduler":""}',NULL,'[]');
CREATE TABLE workers (
	batch VARCHAR NOT NULL, 
	task INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	state TEXT NOT NULL, 
	wish VARCHAR NOT NULL, 
	node VARCHAR, 
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
INSERT INTO "workers" VALUES('dddddddddddddddddddddddddddddddd',1,'w-1','"asked"','run',NULL,0.0,NULL,NULL,NULL,NULL,NULL,'[]');
INSERT INTO "workers" VALUES('dddddddddddddddddddddddddddddddd',2,'w-2','"asked"','run',NULL,0.0,NULL,NULL,NULL,NULL,NULL,'[]');
CREATE INDEX live_sessions ON sessions (id) WHERE ended IS NULL;
CREATE UNIQUE INDEX one_running_session_of_a_server ON sessions (user, server) WHERE ended IS NULL AND wish = 'run';
CREATE UNIQUE INDEX one_session_of_a_job ON sessions (factory, job) WHERE ended IS NULL;
CREATE INDEX sessions_of_a_person ON sessions (user, created);
CREATE INDEX live_clusters ON clusters (id) WHERE ended IS NULL;
CREATE INDEX ix_log_lines_session ON log_lines (session);
CREATE INDEX ix_batches_cluster ON batches (cluster);
COMMIT;
PRAGMA user_version = 4;
