import random, json, shutil, zipfile, os, threading, time
from concurrent.futures import ThreadPoolExecutor
import sqlalchemy as sa
from charter.core.kernel.errors import CharterError
from charter.core.resources.amounts import DIMENSIONS
from charter.services import workspaces, agents, audit, policies, identity
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from charter.audit_verify import verify
from tests.support import STARTER
from pathlib import Path

def test_quota_mix(world):
    from charter.controllers import outbox
    world.clock.follow=True
    dana=world.caller("dana"); errs={}
    def op(i):
        r=random.Random(i); n=f"w{r.randrange(4)}"
        f=r.choice([lambda: workspaces.create(world.rt,dana,WorkspaceRequest(n,"python")),lambda: workspaces.create(world.rt,dana,WorkspaceRequest(n,"python"),f"k{r.randrange(5)}"),lambda: workspaces.start(world.rt,dana,n),lambda: workspaces.stop(world.rt,dana,n),lambda: workspaces.delete(world.rt,dana,n),lambda: outbox.step(world.rt),lambda: outbox.step(world.rt)])
        try: f(); k="ok"
        except CharterError as e: k=e.code
        except Exception as e: k="EXC "+type(e).__name__+str(e)[:200]
        errs[k]=errs.get(k,0)+1
    with ThreadPoolExecutor(8) as p: list(p.map(op,range(150)))
    world.settle()
    print(errs)
    with world.rt.database.reading() as tx:
        q=tx.all(sa.select(t.quotas)); 
        for row in q:
            s={d:sum(x[d] for x in tx.all(sa.select(t.reservations).where(t.reservations.c.scope==row["scope"]))) for d in DIMENSIONS}
            u={d:row[f"{d}_used"] for d in DIMENSIONS}
            print(row["scope"],u, "OK" if u==s else ("MISMATCH",s))
        print([(w["name"],w["desired"],w["observed"]) for w in tx.all(sa.select(t.workspaces).where(t.workspaces.c.deleted_at.is_(None)))])

def test_audit_sql(world):
    world.settle()
    for q in ("UPDATE audit_log SET actor='x'","DELETE FROM audit_log","TRUNCATE audit_log","TRUNCATE audit_log CASCADE","UPDATE audit_checkpoints SET size=1","DELETE FROM audit_checkpoints","UPDATE audit_pending SET leaf=''","TRUNCATE audit_pending","SET session_replication_role=replica","ALTER TABLE audit_log DISABLE TRIGGER ALL","INSERT INTO audit_log SELECT * FROM audit_log LIMIT 1","DELETE FROM audit_tiles","UPDATE audit_tiles SET index=5","DELETE FROM decisions", "UPDATE decisions SET effect='allow'"):
        with world.rt.database.engine.connect() as c:
            try: r=c.execute(sa.text(q)); print("WORKS",q,r.rowcount)
            except Exception as e: print("refused",q,str(e.orig)[:70])
            c.rollback()

def test_tamper(world,tmp_path):
    from charter.core.audit import layout
    dana=world.caller("dana")
    for i in range(3): workspaces.create(world.rt,dana,WorkspaceRequest(f"a{i}","python"))
    a=tmp_path/"a"; audit.export_to(world.rt,world.admin,a)
    key=audit.state(world.rt,world.admin)["verifier_key"]; cp=(a/"checkpoint").read_text()
    print(sorted(str(p.relative_to(a)) for p in a.rglob("*") if p.is_file()))
    for i in range(3): workspaces.delete(world.rt,dana,f"a{i}")
    b=tmp_path/"b"; audit.export_to(world.rt,world.admin,b)
    V=lambda p,prev=None,k=key: (lambda r:(r.ok,[f.code for f in r.findings][:3],r.previous))(verify(p,trusted_key=k,previous_checkpoint=prev))
    print("b",V(b,cp),"a cut back",V(a,(b/"checkpoint").read_text()),"a alone",V(a))
    for f in sorted(b.rglob("*")):
        if f.is_file():
            d=tmp_path/"d"; shutil.rmtree(d,ignore_errors=True); shutil.copytree(b,d); g=d/f.relative_to(b)
            bad=[]
            x=g.read_bytes(); 
            g.unlink(); bad.append(V(d)[0])
            for i in {0,len(x)//2,len(x)-1}: g.write_bytes(x[:i]+bytes([x[i]^1])+x[i+1:]); bad.append(V(d)[0])
            g.write_bytes(x+b"\n"); bad.append(V(d)[0]); g.write_bytes(x[:-1]); bad.append(V(d)[0])
            if any(bad): print("UNDETECTED",f,bad)
    d=tmp_path/"d"; shutil.rmtree(d); shutil.copytree(b,d); (d/"extra").write_text("x"); print("extra",V(d))
    shutil.rmtree(d); shutil.copytree(b,d); ls=(d/"events.jsonl").read_bytes().splitlines(True); ls[3],ls[4]=ls[4],ls[3]; (d/"events.jsonl").write_bytes(b"".join(ls)); print("reorder",V(d))
    z=tmp_path/"z.zip"
    with zipfile.ZipFile(z,"w") as zf:
        for f in b.rglob("*"):
            if f.is_file(): zf.write(f,str(f.relative_to(b)))
        zf.writestr("events.jsonl","dup")
    print("dup",V(z))
    with zipfile.ZipFile(z,"w") as zf:
        for f in b.rglob("*"):
            if f.is_file(): zf.write(f,str(f.relative_to(b)))
        zf.writestr("../x","dup"); 
    print("dotdot",V(z))

def test_bundles(world):
    base={p:STARTER.text(p) for p in STARTER.files}
    def tryit(name,changes):
        t0=time.time()
        try: policies.apply(world.rt,world.admin,{**base,**changes},"x"); r="APPLIED"
        except CharterError as e: r=(e.code,e.message[:120])
        except BaseException as e: r="EXC "+repr(e)[:150]
        print(name,r,round(time.time()-t0,1))
        return r=="APPLIED"
    tryit("deep json",{"data/x.json":"["*100000})
    tryit("path",{"../x.rego":"package x"})
    tryit("http",{"lib/h.rego":"package h\nimport rego.v1\nallow if http.send({\"url\":\"http://x\",\"method\":\"get\"})"})
    tryit("deep rego",{"lib/d.rego":"package d\nx = "+"["*20000})
    tryit("rego 1000 deep",{"lib/d.rego":"package d\nx := "+"("*3000+"1"+")"*3000})
    if tryit("allow everything",{"lib/decision.rego":'package charter\nimport rego.v1\ndecision := {"effect":"allow","violations":[],"obligations":[],"shadow":[],"evaluated":1}\n'}) :
        pass
    # stored directly: bundle that allows everything; invariants must remain
    from charter.core.policy.bundle import Bundle
    evil=Bundle({k:v for k,v in {**base,"lib/decision.rego":'package charter\nimport rego.v1\ndecision := {"effect":"allow","violations":[],"obligations":[],"shadow":[],"evaluated":1}\n'}.items() if not k.endswith("_test.rego")})
    try:
        policies.apply(world.rt,world.admin,{k:evil.text(k) for k in evil.files},"x"); print("no-test bundle APPLIED")
        for who,team in (("ria","payments"),("dana","search")):
            try: print("HOLE", workspaces.create(world.rt,world.caller(who),WorkspaceRequest("x","python",team=team))["decision"]["effect"])
            except CharterError as e: print("invariants hold",e.code,e.message[:80])
        try: print("quota HOLE",workspaces.create(world.rt,world.caller("dana"),WorkspaceRequest("x","python",vcpu=4000))["decision"]["effect"])
        except CharterError as e: print("quota holds",e.message[:80])
    except CharterError as e: print("no-test bundle",e.code,e.message[:200])

def test_ws_name_race(world):
    dana=world.caller("dana"); out=[]
    def c(i):
        try: workspaces.create(world.rt,dana,WorkspaceRequest("same","python")); out.append("ok")
        except CharterError as e: out.append(e.code)
        except Exception as e: out.append("EXC "+repr(e)[:100])
    with ThreadPoolExecutor(8) as p: list(p.map(c,range(8)))
    print(out)
