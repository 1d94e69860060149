// HTTPS with Java's own TLS. `Talks ask STYLE COUNT URL...` waits for qtap's agent, asks for each URL as often, and prints length and digest of what it got. `Talks answer KEYSTORE` prints
// its port and answers any request with what it was sent, or with its path, until its standard input ends. `Talks engines KEYSTORE COUNT` has two engines talk to
// each other, and prints a digest of all that they made of it.
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.FileInputStream;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.X509Certificate;
import java.util.concurrent.Executors;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

public class Talks {
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("answer")) {
            answer(arguments[1]);
            return;
        }
        if (arguments[0].equals("engines")) {
            engines(arguments[1], Integer.parseInt(arguments[2]));
            return;
        }
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Everyone()}, null);
        HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        HttpsURLConnection.setDefaultHostnameVerifier((name, session) -> true);
        HttpClient.Version version = arguments[1].equals("http2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        HttpClient client = HttpClient.newBuilder().sslContext(context).version(version).build();
        awaitAgent();
        int count = Integer.parseInt(arguments[2]);
        for (int round = 0; round < count; round++) {
            for (int at = 3; at < arguments.length; at++) {
                byte[] body = arguments[1].equals("socket") ? bySocket(arguments[at]) : byEngine(client, arguments[at]);
                System.out.println(body.length + " " + hex(MessageDigest.getInstance("SHA-256").digest(body)));
            }
        }
    }

    /** Whether the first request comes before qtap's agent is a matter of how busy the machine is. */
    static void awaitAgent() throws Exception {
        for (int step = 0; step < 1000; step++) {
            if (Thread.getAllStackTraces().keySet().stream().anyMatch(thread -> thread.getName().equals("qtap"))) {
                return;
            }
            Thread.sleep(20);
        }
        throw new IllegalStateException("no agent came");
    }

    static byte[] bySocket(String url) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }

    static byte[] byEngine(HttpClient client, String url) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
        return client.send(request, HttpResponse.BodyHandlers.ofByteArray()).body();
    }

    static SSLContext with(String keystore) throws Exception {
        char[] password = "secret".toCharArray();
        KeyStore keys = KeyStore.getInstance("PKCS12");
        keys.load(new FileInputStream(keystore), password);
        KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
        factory.init(keys, password);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(factory.getKeyManagers(), new TrustManager[] {new Everyone()}, null);
        return context;
    }

    /** All results of all calls go into the digest, arguments that are refused among them. */
    static void engines(String keystore, int count) throws Exception {
        SSLContext context = with(keystore);
        SSLEngine[] both = {context.createSSLEngine("localhost", 1), context.createSSLEngine()};
        both[0].setUseClientMode(true);
        both[1].setUseClientMode(false);
        int most = 3 * both[0].getSession().getPacketBufferSize();
        ByteBuffer[] wires = {ByteBuffer.allocate(most), ByteBuffer.allocateDirect(most)};
        MessageDigest said = MessageDigest.getInstance("SHA-256");
        byte[] text = new byte[4000];
        ByteBuffer into = ByteBuffer.allocate(20_000);
        for (int call = 0; call < count; call++) {
            int from = call & 1;
            SSLEngine other = both[1 - from];
            for (int at = 0; at < text.length; at += 97) {
                text[at] = (byte) (call + at);
            }
            int length = call * 31 % text.length;
            ByteBuffer[] parts = {ByteBuffer.wrap(text, 0, length / 3), ByteBuffer.wrap(text, length / 3, length - length / 3)};
            SSLEngineResult wrapped = both[from].wrap(parts, wires[from]);
            work(both[from]);
            if (wrapped.bytesConsumed() > 0) {
                said.update((wrapped.getStatus() + " " + wrapped.bytesConsumed() + " " + wrapped.bytesProduced()).getBytes());
            }
            wires[from].flip();
            SSLEngineResult fed;
            do {
                into.clear();
                fed = other.unwrap(wires[from], into);
                work(other);
                if (fed.bytesProduced() > 0) {
                    said.update(into.array(), 0, into.position());
                    said.update((fed.getStatus() + " " + fed.bytesProduced()).getBytes());
                }
            } while (fed.bytesConsumed() > 0 && wires[from].hasRemaining());
            wires[from].compact();
            if (call % 1000 == 0) {
                for (ByteBuffer[] wrong : new ByteBuffer[][] {null, {null}, {ByteBuffer.allocate(1)}}) {
                    try {
                        said.update(both[from].wrap(wrong, 0, 2, wires[from]).toString().getBytes());
                    } catch (RuntimeException refused) {
                        said.update(refused.toString().getBytes());
                    }
                }
            }
        }
        System.out.println(hex(said.digest()));
    }

    static void work(SSLEngine engine) {
        for (Runnable task = engine.getDelegatedTask(); task != null; task = engine.getDelegatedTask()) {
            task.run();
        }
    }

    static void answer(String keystore) throws Exception {
        SSLContext context = with(keystore);
        HttpsServer server = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            byte[] sent = exchange.getRequestBody().readAllBytes();
            byte[] body = sent.length > 0 ? sent : exchange.getRequestURI().toString().getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        System.out.println(server.getAddress().getPort());
        System.in.read();
        System.exit(0);
    }

    static String hex(byte[] bytes) {
        StringBuilder text = new StringBuilder();
        for (byte each : bytes) {
            text.append(String.format("%02x", each));
        }
        return text.toString();
    }

    /** Trusts any certificate: the test's is self-signed. */
    static class Everyone extends X509ExtendedTrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String kind) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind) {}
        public void checkClientTrusted(X509Certificate[] chain, String kind, Socket socket) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind, Socket socket) {}
        public void checkClientTrusted(X509Certificate[] chain, String kind, SSLEngine engine) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind, SSLEngine engine) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    }
}
