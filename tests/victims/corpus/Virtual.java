// Virtual threads that yield or park deep in recursions, go on on any of their carriers, and compute on their way back. It compiles
// with a Java that has none; "ready" when they have gone on so often as is asked for, and how much they compute is, too.
import java.util.Comparator;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;

public class Virtual {
    static final int THREADS = 24;
    static final AtomicLong gone_on = new AtomicLong();
    static volatile long sink;
    static int much;

    static long computes(int depth) {
        if (depth > 0) return computes(depth - 1) + 1;
        long x = 0;
        for (int i = 0; i < much; i++) x += i * 31;
        sink = x;
        return x;
    }

    static long parks(int depth) {
        if (depth > 0) return parks(depth - 1) + computes(depth);
        LockSupport.parkNanos(50_000);
        return 0;
    }

    static void forever(int mine) {
        for (;;) {
            if (mine % 2 == 0) {
                computes(mine);
                Thread.yield();
            } else {
                sink = parks(mine);
            }
            if (mine % 7 == 0) IntStream.range(0, 100).mapToObj(x -> "s" + x).sorted(Comparator.reverseOrder()).forEach(s -> sink += s.length());
            gone_on.incrementAndGet();
        }
    }

    public static void main(String[] arguments) throws Exception {
        long often = Long.parseLong(arguments[0]);
        much = Integer.parseInt(arguments[1]);
        java.lang.reflect.Method start = Thread.class.getMethod("startVirtualThread", Runnable.class);
        for (int i = 0; i < THREADS; i++) {
            final int mine = i;
            start.invoke(null, (Runnable) () -> forever(mine));
        }
        while (gone_on.get() < often) Thread.sleep(10);
        System.out.println("ready");
        Thread.sleep(Long.MAX_VALUE);
    }
}
