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
INSERT INTO "alembic_version" VALUES('0013');
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
INSERT INTO "audit" VALUES(1,1.79595794274829792e+09,'tina','u1','one','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(2,1.79595794284495496e+09,'tina','u1','one','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(3,1.79595794305571293e+09,'tina','u1','one','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(4,1.79595794326916503e+09,'tina','u1','one','submit','1','','local');
INSERT INTO "audit" VALUES(5,1.795957943269459e+09,'tina','u1','one','submit','2','','local');
INSERT INTO "audit" VALUES(6,1.79595794338509798e+09,'tina','u1','one','submit','3','','local');
INSERT INTO "audit" VALUES(7,1.79595794397463798e+09,'tina','u1','one','enter','1','','local');
INSERT INTO "audit" VALUES(8,1.79595794415518498e+09,'tina','u1','one','enter','2','','local');
INSERT INTO "audit" VALUES(9,1.795957944294559e+09,'tina','u1','one','enter','3','','local');
INSERT INTO "audit" VALUES(10,1.79595794496408391e+09,'tina','u1','one','stop','1','by trainer: stopped','');
INSERT INTO "audit" VALUES(11,1.79595794516206693e+09,'tina','u1','one','stop','2','by trainer: stopped','');
INSERT INTO "audit" VALUES(12,1.79595794537920403e+09,'tina','u1','one','stop','3','by trainer: stopped','');
INSERT INTO "audit" VALUES(13,1795957948.04254,'tina','u1','one','cancel','1','','local');
INSERT INTO "audit" VALUES(14,1.79595794816224098e+09,'tina','u1','one','end','1','stopped','');
INSERT INTO "audit" VALUES(15,1.79595794849827098e+09,'tina','u1','one','cancel','2','','local');
INSERT INTO "audit" VALUES(16,1.79595794849881291e+09,'tina','u1','one','cancel','3','','local');
INSERT INTO "audit" VALUES(17,1.79595794849954295e+09,'tina','u1','one','end','2','stopped','');
INSERT INTO "audit" VALUES(18,1.79595794860918688e+09,'tina','u1','one','end','3','stopped','');
INSERT INTO "audit" VALUES(19,1.79595795094322299e+09,'ada','u2','one','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(20,1.7959579510394349e+09,'guest.ben.n9asdq','u3','one','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(21,1.79595795134901905e+09,'cleo','u4','one','ask',NULL,'gpu-1','');
INSERT INTO "audit" VALUES(22,1.795957951388206e+09,'ada','u2','one','submit','4','','local');
INSERT INTO "audit" VALUES(23,1.79595795145529794e+09,'guest.ben.n9asdq','u3','one','submit','5','','local');
INSERT INTO "audit" VALUES(24,1.79595795150056195e+09,'cleo','u4','one','submit','6','','local');
INSERT INTO "audit" VALUES(25,1.79595795366064906e+09,'ada','u2','one','enter','4','','local');
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
CREATE TABLE budgets (
	project VARCHAR NOT NULL, 
	gpu_hours FLOAT, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (project)
);
INSERT INTO "budgets" VALUES('workshop-after-the-flood-ns9t',NULL,1.7959579513491609e+09);
CREATE TABLE charges (
	id VARCHAR NOT NULL, 
	project VARCHAR, 
	factory VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	gpus INTEGER NOT NULL, 
	gpu_parts INTEGER DEFAULT '1' NOT NULL, 
	reserved INTEGER NOT NULL, 
	reserved_at FLOAT NOT NULL, 
	started FLOAT, 
	earlier INTEGER NOT NULL, 
	ended FLOAT, 
	seconds INTEGER, 
	PRIMARY KEY (id)
);
INSERT INTO "charges" VALUES('fc5d6e5e1cd649f890c59244065eeef6','workshop-after-the-flood-ns9t','one','tina','u1',1,1,900,1.79595794284374594e+09,1.79595794357576894e+09,0,1.79595794808054399e+09,5);
INSERT INTO "charges" VALUES('840ccac4c2264d8d9275d8bb74ec4cae','workshop-after-the-flood-ns9t','one','tina','u1',1,1,900,1.79595794289450192e+09,1795957943.57586,0,1.79595794840476894e+09,5);
INSERT INTO "charges" VALUES('551c8013192f477bbe6bffbf95b87d83','workshop-after-the-flood-ns9t','one','tina','u1',1,1,900,1.79595794305646204e+09,1.79595794357587909e+09,0,1.79595794844714403e+09,5);
INSERT INTO "charges" VALUES('75e198862e75421f8f9aa6f56e915b85','workshop-after-the-flood-ns9t','one','ada','u2',1,1,7440,1.79595795099402689e+09,1.79595795351085495e+09,0,NULL,NULL);
INSERT INTO "charges" VALUES('7359d914da414d9a82fcc4d000dfff9f','workshop-after-the-flood-ns9t','one','guest.ben.n9asdq','u3',1,1,7440,1795957951.06631,NULL,0,NULL,NULL);
INSERT INTO "charges" VALUES('6d12e23383e34701b31e6385f42c48f6','workshop-after-the-flood-ns9t','one','cleo','u4',1,1,7440,1.79595795134967803e+09,NULL,0,NULL,NULL);
CREATE TABLE choices (
	user VARCHAR NOT NULL, 
	choice TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (user)
);
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
	gpu_parts INTEGER DEFAULT '1' NOT NULL, 
	cap_gpu_hours FLOAT, 
	earlier FLOAT DEFAULT '0' NOT NULL, 
	session VARCHAR, 
	created FLOAT NOT NULL, 
	wish VARCHAR NOT NULL, 
	ended FLOAT, 
	"end" TEXT, 
	PRIMARY KEY (id)
);
CREATE TABLE drains (
	factory VARCHAR NOT NULL, 
	message TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory)
);
CREATE TABLE holds (
	factory VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	project VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	rehearsal BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (factory, account)
);
INSERT INTO "holds" VALUES('one','u1','workshop-after-the-flood-ns9t',1.79595795037168288e+09,0);
INSERT INTO "holds" VALUES('one','u2','workshop-after-the-flood-ns9t',1.79595795045141696e+09,0);
INSERT INTO "holds" VALUES('one','u3','workshop-after-the-flood-ns9t',1.79595795050803709e+09,0);
INSERT INTO "holds" VALUES('one','u4','workshop-after-the-flood-ns9t',1.79595795056561899e+09,0);
CREATE TABLE hub_rules (
	name VARCHAR NOT NULL, 
	told TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "hub_rules" VALUES('rules','{"access":false,"terms":null,"options":{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}}',1.79595792289218592e+09);
CREATE TABLE leases (
	factory VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	user VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (factory, account)
);
INSERT INTO "leases" VALUES('one','u1','tina',1.7959579425946021e+09);
INSERT INTO "leases" VALUES('one','u2','ada',1795957950.87875);
INSERT INTO "leases" VALUES('one','u3','guest.ben.n9asdq',1.79595795099435806e+09);
INSERT INTO "leases" VALUES('one','u4','cleo',1.7959579512149291e+09);
CREATE TABLE log_lines (
	number INTEGER NOT NULL, 
	session VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	text TEXT NOT NULL, 
	code TEXT DEFAULT '""' NOT NULL, 
	parameters TEXT DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (number), 
	FOREIGN KEY(session) REFERENCES sessions (id)
);
INSERT INTO "log_lines" VALUES(1,'fc5d6e5e1cd649f890c59244065eeef6',1.79595794265097188e+09,'Asked for gpu-1 at m.','"asked"','{"size":"gpu-1","factory":"m"}');
INSERT INTO "log_lines" VALUES(2,'840ccac4c2264d8d9275d8bb74ec4cae',1.79595794265222406e+09,'Asked for gpu-1 at m.','"asked"','{"size":"gpu-1","factory":"m"}');
INSERT INTO "log_lines" VALUES(3,'551c8013192f477bbe6bffbf95b87d83',1.79595794265300488e+09,'Asked for gpu-1 at m.','"asked"','{"size":"gpu-1","factory":"m"}');
INSERT INTO "log_lines" VALUES(4,'fc5d6e5e1cd649f890c59244065eeef6',1.79595794323586392e+09,'Job 1 waits in the queue.','"job-waits"','{"job":"1"}');
INSERT INTO "log_lines" VALUES(5,'840ccac4c2264d8d9275d8bb74ec4cae',1.79595794323600101e+09,'Job 2 waits in the queue.','"job-waits"','{"job":"2"}');
INSERT INTO "log_lines" VALUES(6,'551c8013192f477bbe6bffbf95b87d83',1.79595794332947897e+09,'Job 3 waits in the queue.','"job-waits"','{"job":"3"}');
INSERT INTO "log_lines" VALUES(7,'fc5d6e5e1cd649f890c59244065eeef6',1.79595794357708907e+09,'The job runs on n1.','"job-runs"','{"node":"n1"}');
INSERT INTO "log_lines" VALUES(8,'840ccac4c2264d8d9275d8bb74ec4cae',1.79595794361005711e+09,'The job runs on n1.','"job-runs"','{"node":"n1"}');
INSERT INTO "log_lines" VALUES(9,'551c8013192f477bbe6bffbf95b87d83',1.79595794361055707e+09,'The job runs on n1.','"job-runs"','{"node":"n1"}');
INSERT INTO "log_lines" VALUES(10,'fc5d6e5e1cd649f890c59244065eeef6',1.79595794395132708e+09,'The notebook answers.','"notebook-answers"','{}');
INSERT INTO "log_lines" VALUES(11,'840ccac4c2264d8d9275d8bb74ec4cae',1.795957944154747e+09,'The notebook answers.','"notebook-answers"','{}');
INSERT INTO "log_lines" VALUES(12,'551c8013192f477bbe6bffbf95b87d83',1.79595794424347209e+09,'The notebook answers.','"notebook-answers"','{}');
INSERT INTO "log_lines" VALUES(13,'fc5d6e5e1cd649f890c59244065eeef6',1.79595794489005708e+09,'The people who run the workshop stopped it.','"stopped-by-trainer"','{}');
INSERT INTO "log_lines" VALUES(14,'840ccac4c2264d8d9275d8bb74ec4cae',1795957945.07729,'The people who run the workshop stopped it.','"stopped-by-trainer"','{}');
INSERT INTO "log_lines" VALUES(15,'551c8013192f477bbe6bffbf95b87d83',1.79595794533228302e+09,'The people who run the workshop stopped it.','"stopped-by-trainer"','{}');
INSERT INTO "log_lines" VALUES(16,'fc5d6e5e1cd649f890c59244065eeef6',1.79595794808150196e+09,'It was stopped.','""','{}');
INSERT INTO "log_lines" VALUES(17,'840ccac4c2264d8d9275d8bb74ec4cae',1.79595794840566205e+09,'It was stopped.','""','{}');
INSERT INTO "log_lines" VALUES(18,'551c8013192f477bbe6bffbf95b87d83',1.7959579484905579e+09,'It was stopped.','""','{}');
INSERT INTO "log_lines" VALUES(19,'75e198862e75421f8f9aa6f56e915b85',1.79595795092017102e+09,'Asked for gpu-1 at m.','"asked"','{"size":"gpu-1","factory":"m"}');
INSERT INTO "log_lines" VALUES(20,'7359d914da414d9a82fcc4d000dfff9f',1.795957951022403e+09,'Asked for gpu-1 at m.','"asked"','{"size":"gpu-1","factory":"m"}');
INSERT INTO "log_lines" VALUES(21,'6d12e23383e34701b31e6385f42c48f6',1.79595795123507189e+09,'Asked for gpu-1 at m.','"asked"','{"size":"gpu-1","factory":"m"}');
INSERT INTO "log_lines" VALUES(22,'75e198862e75421f8f9aa6f56e915b85',1795957951.34824,'Job 4 waits in the queue.','"job-waits"','{"job":"4"}');
INSERT INTO "log_lines" VALUES(23,'7359d914da414d9a82fcc4d000dfff9f',1.79595795141121697e+09,'Job 5 waits in the queue.','"job-waits"','{"job":"5"}');
INSERT INTO "log_lines" VALUES(24,'6d12e23383e34701b31e6385f42c48f6',1.7959579514794929e+09,'Job 6 waits in the queue.','"job-waits"','{"job":"6"}');
INSERT INTO "log_lines" VALUES(25,'75e198862e75421f8f9aa6f56e915b85',1.79595795351156806e+09,'The job runs on n1.','"job-runs"','{"node":"n1"}');
INSERT INTO "log_lines" VALUES(26,'75e198862e75421f8f9aa6f56e915b85',1.79595795363649511e+09,'The notebook answers.','"notebook-answers"','{}');
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
	unopened_until FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "sessions" VALUES('fc5d6e5e1cd649f890c59244065eeef6','tina','rehearsal-1','one','u1','{"factory":"one","size":"gpu-1","environment":"plain","hours":0.25,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":"workshop-after-the-flood-ns9t","reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20000,1.79595794265097188e+09,'"ended"','stop','"stopped"',1.7959579429697721e+09,1,'1',1.79595794323565292e+09,'n1',NULL,0,1.79595794357576894e+09,1.79595794395130205e+09,NULL,1.79595794808054399e+09,NULL,'"stopped"','{"code":"stopped","parameters":{},"what":"It was stopped.","do":"Your files are as you saved them. Start a new session to go on.","whose":"you","scheduler":""}',NULL,'[]',0,1796116800.0);
INSERT INTO "sessions" VALUES('840ccac4c2264d8d9275d8bb74ec4cae','tina','rehearsal-2','one','u1','{"factory":"one","size":"gpu-1","environment":"plain","hours":0.25,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":"workshop-after-the-flood-ns9t","reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20001,1.79595794265222406e+09,'"ended"','stop','"stopped"',1.7959579429699521e+09,1,'2',1.795957943235955e+09,'n1',NULL,0,1795957943.57586,1795957944.15472,NULL,1.79595794840476894e+09,NULL,'"stopped"','{"code":"stopped","parameters":{},"what":"It was stopped.","do":"Your files are as you saved them. Start a new session to go on.","whose":"you","scheduler":""}',NULL,'[]',0,1796116800.0);
INSERT INTO "sessions" VALUES('551c8013192f477bbe6bffbf95b87d83','tina','rehearsal-3','one','u1','{"factory":"one","size":"gpu-1","environment":"plain","hours":0.25,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":"workshop-after-the-flood-ns9t","reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20002,1.79595794265300488e+09,'"ended"','stop','"stopped"',1.79595794315703701e+09,1,'3',1.79595794332921099e+09,'n1',NULL,0,1.79595794357587909e+09,1.79595794424345207e+09,NULL,1.79595794844714403e+09,NULL,'"stopped"','{"code":"stopped","parameters":{},"what":"It was stopped.","do":"Your files are as you saved them. Start a new session to go on.","whose":"you","scheduler":""}',NULL,'[]',0,1796116800.0);
INSERT INTO "sessions" VALUES('75e198862e75421f8f9aa6f56e915b85','ada','','one','u2','{"factory":"one","size":"gpu-1","environment":"plain","hours":2.066666666666667,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":"workshop-after-the-flood-ns9t","reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20003,1.79595795092017102e+09,'"running"','run',NULL,1.79595795106770801e+09,1,'4',1.79595795134809803e+09,'n1',NULL,0,1.79595795351085495e+09,1.795957953636482e+09,NULL,NULL,NULL,NULL,NULL,NULL,'[]',0,1796293200.0);
INSERT INTO "sessions" VALUES('7359d914da414d9a82fcc4d000dfff9f','guest.ben.n9asdq','','one','u3','{"factory":"one","size":"gpu-1","environment":"plain","hours":2.066666666666667,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":"workshop-after-the-flood-ns9t","reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20004,1.795957951022403e+09,'"pending"','run',NULL,1.79595795123646211e+09,1,'5',1.79595795141108798e+09,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',0,1796293200.0);
INSERT INTO "sessions" VALUES('6d12e23383e34701b31e6385f42c48f6','cleo','','one','u4','{"factory":"one","size":"gpu-1","environment":"plain","hours":2.066666666666667,"idle_minutes":60,"unopened_minutes":30,"give_up_hours":null,"project":"workshop-after-the-flood-ns9t","reservation":null,"url_tokens":false}','{"account":null,"qos":null,"partition":null,"constraint":null,"reservation":null,"gres":null,"prologue":"","epilogue":"","template":""}',20005,1.79595795123507189e+09,'"pending"','run',NULL,1.79595795142994904e+09,1,'6',1795957951.47938,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',0,1796293200.0);
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
CREATE UNIQUE INDEX one_session_of_a_job ON sessions (factory, job) WHERE ended IS NULL;
CREATE UNIQUE INDEX one_running_session_of_a_server ON sessions (user, server) WHERE ended IS NULL AND wish = 'run';
CREATE INDEX live_sessions ON sessions (id) WHERE ended IS NULL;
CREATE INDEX sessions_of_a_person ON sessions (user, created);
CREATE INDEX charges_by_end ON charges (ended);
CREATE INDEX charges_of_a_project ON charges (project, ended);
CREATE INDEX ended_clusters ON clusters (user, ended);
CREATE INDEX live_clusters ON clusters (id) WHERE ended IS NULL;
CREATE INDEX ix_log_lines_session ON log_lines (session);
CREATE INDEX ix_batches_cluster ON batches (cluster);
COMMIT;
