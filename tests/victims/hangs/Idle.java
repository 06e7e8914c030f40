import java.net.ServerSocket;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.SynchronousQueue;

/** A pool without work, virtual threads that wait (where there are any), and a server without clients. */
class Idle {
    public static void main(String[] arguments) throws Exception {
        var pool = Executors.newFixedThreadPool(4);
        var begun = new CountDownLatch(4);
        for (int i = 0; i < 4; i++) pool.submit(begun::countDown);
        begun.await();
        var queue = new SynchronousQueue<Integer>();
        try {
            var start = Thread.class.getMethod("startVirtualThread", Runnable.class);
            var waiting = new CountDownLatch(100);
            Runnable work = () -> {
                waiting.countDown();
                try {
                    queue.take();
                } catch (InterruptedException e) {
                    throw new RuntimeException(e);
                }
            };
            for (int i = 0; i < 100; i++) start.invoke(null, work);
            waiting.await();
        } catch (NoSuchMethodException e) {
            System.err.println("this Java has no virtual threads");
        }
        var server = new ServerSocket(0);
        System.out.printf("kind none%nsince %.3f%nready%n", System.currentTimeMillis() / 1000.0);
        System.out.flush();
        server.accept();
    }
}
