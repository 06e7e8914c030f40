// Waits in a chain of functions whose names the compiler encodes.
module app;
import core.sys.posix.unistd, core.stdc.stdio;
struct Pair(T) { T a; T take(T n) { pause(); a = n; return n; } }
class Worker { int n; int run(string what, int[] xs) { auto p = Pair!int(1); n = p.take(3); return n; } }
int outer(Worker w) { int inner(double d) { int r = w.run("x", [1]); w.n = r; return r; } int r = inner(2.0); w.n = r; return r; }
void main() { alarm(300); puts("ready"); fflush(stdout); outer(new Worker); }
